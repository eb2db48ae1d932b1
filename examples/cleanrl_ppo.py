"""PPO in one file, in the manner of CleanRL (Huang et al. 2022), on a task as Gymnasium's vector environment.

python examples/cleanrl_ppo.py                                           # pushes plasticine: examples/push_to_goal.py
python examples/cleanrl_ppo.py --env tasks:diffsim/Detour-v0 --num-envs 32 --total-steps 100000

`--env` takes any environment with a Box of vectors and a Box of actions; the module before the colon is imported first.
"""

import argparse
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions import Normal

sys.path.insert(0, str(Path(__file__).parent))  # push_to_goal, as a module


class Agent(nn.Module):
    """A Gaussian policy and a value function, two networks."""

    def __init__(self, observations: int, actions: int) -> None:
        super().__init__()
        self.critic = nn.Sequential(*layers(observations), nn.Linear(64, 1))
        mean = nn.Linear(64, actions)
        nn.init.orthogonal_(mean.weight, 0.01)
        self.actor = nn.Sequential(*layers(observations), mean)
        self.log_std = nn.Parameter(torch.full((actions,), -0.5))

    def value(self, observation: torch.Tensor) -> torch.Tensor:
        return self.critic(observation).squeeze(-1)

    def policy(self, observation: torch.Tensor) -> Normal:
        return Normal(self.actor(observation), self.log_std.exp())


def layers(inputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="push_to_goal:diffsim/PushToGoal-v0")
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--total-steps", type=int, default=40_000, help="steps of all environments together")
    parser.add_argument("--num-steps", type=int, default=40, help="steps of each environment between updates")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--minibatches", type=int, default=4)
    parser.add_argument("--clip", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    # SameStep: every step belongs to an episode, and final_obs holds what was seen at the ends
    envs = gymnasium.make_vec(options.env, num_envs=options.num_envs, autoreset_mode="SameStep")
    agent = Agent(envs.single_observation_space.shape[0], envs.single_action_space.shape[0])
    optimizer = torch.optim.Adam(agent.parameters(), lr=options.learning_rate, eps=1e-5)

    shape = (options.num_steps, options.num_envs)
    observations = torch.zeros(*shape, envs.single_observation_space.shape[0])
    actions = torch.zeros(*shape, envs.single_action_space.shape[0])
    log_probs, rewards, values, next_values, dones = (torch.zeros(shape) for _ in range(5))

    started = time.perf_counter()
    seen = tensor(envs.reset(seed=options.seed)[0])
    running = np.zeros(options.num_envs)  # returns so far
    iterations = max(1, options.total_steps // (options.num_steps * options.num_envs))
    for iteration in range(1, iterations + 1):
        returns, solved = [], []
        for t in range(options.num_steps):
            with torch.no_grad():
                policy = agent.policy(seen)
                action = policy.sample()
                observations[t], actions[t] = seen, action
                log_probs[t], values[t] = policy.log_prob(action).sum(-1), agent.value(seen)
            following, reward, terminated, truncated, info = envs.step(action.clamp(-1.0, 1.0).numpy())
            rewards[t], done = tensor(reward), terminated | truncated
            dones[t], seen = tensor(done), tensor(following)
            last, running = seen.clone(), running + reward
            if done.any():
                last[done] = tensor(np.stack(info["final_obs"][done]))
                returns += running[done].tolist()
                solved += info["final_info"]["is_success"][done].tolist()
                running[done] = 0.0
            with torch.no_grad():  # past a time limit the value goes on, past an end it does not
                next_values[t] = agent.value(last) * ~torch.from_numpy(terminated)

        advantages, advantage = torch.zeros(shape), torch.zeros(options.num_envs)
        for t in reversed(range(options.num_steps)):
            error = rewards[t] + options.gamma * next_values[t] - values[t]
            advantage = error + options.gamma * options.gae_lambda * (1.0 - dones[t]) * advantage
            advantages[t] = advantage
        batch = [each.flatten(0, 1) for each in (observations, actions, log_probs, advantages, advantages + values)]

        for _epoch in range(options.epochs):
            for rows in torch.randperm(len(batch[0])).chunk(options.minibatches):
                observation, action, log_prob, advantage, target = (each[rows] for each in batch)
                policy = agent.policy(observation)
                ratio = (policy.log_prob(action).sum(-1) - log_prob).exp()
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                clipped = ratio.clamp(1.0 - options.clip, 1.0 + options.clip)
                policy_loss = -torch.minimum(advantage * ratio, advantage * clipped).mean()
                loss = policy_loss + 0.5 * (agent.value(observation) - target).square().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()

        steps = iteration * options.num_steps * options.num_envs
        speed = steps / (time.perf_counter() - started)
        shown = f"return {np.mean(returns):7.3f}  solved {np.mean(solved):4.0%}" if returns else "no episode ended"
        print(f"steps {steps:7d}  {shown}  {speed:5.0f} steps/s", flush=True)
    envs.close()


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(array, dtype=torch.float32)


if __name__ == "__main__":
    main()
