"""A task as an environment of Gymnasium, learnt by PPO of stable-baselines3: no gradient of the simulator is used.

    python examples/learn_by_sb3.py    # prints success as it learns, writes learn_by_sb3.mp4
    python examples/learn_by_sb3.py --task HammerNail --steps 200000

A finger opens a door that stands ajar. Training takes 16 episodes side by side in one simulator (TaskVecEnv). What was learnt
is then played, and recorded, in the environment of gymnasium.make, as with any other environment. It needs the extra
"baselines" (docs/gymnasium.md) and takes about 40 s on one core.
"""

import argparse
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from diffsim.render import write_video
from tasks.adapters.stable_baselines_env import TaskVecEnv


class Report(BaseCallback):
    """A line after every fifth collection: return and success of the latest 100 episodes."""

    collections = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.collections += 1
        if self.collections % 5 == 1 and self.model.ep_info_buffer:
            returns, solved = [each["r"] for each in self.model.ep_info_buffer], self.model.ep_success_buffer
            print(f"steps {self.num_timesteps:6d}  return {np.mean(returns):6.2f}  success {np.mean(solved):4.0%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="OpenDoor", help="any name of diffsim-rpg list")
    parser.add_argument("--steps", type=int, default=24_000, help="of all environments together")
    parser.add_argument("--video", type=Path, default=Path("learn_by_sb3.mp4"))
    options = parser.parse_args()
    torch.set_num_threads(1)  # of small networks more of them only wait for each other

    # the horizon truncates: values go on past it; where only the end counts, give TaskVecEnv time_limit="termination"
    envs = VecNormalize(VecMonitor(TaskVecEnv(options.task, 16)))
    horizon = envs.get_attr("horizon")[0]
    start = {"log_std_init": -0.5}  # actions are in [-1, 1]
    model = PPO("MlpPolicy", envs, n_steps=horizon, batch_size=128, learning_rate=1e-3, seed=0, policy_kwargs=start)
    model.learn(options.steps, callback=Report())

    env = gymnasium.make(f"tasks:diffsim/{options.task}-v0", render_mode="rgb_array", render_size=(360, 480))
    solved, frames = [], []
    for seed in range(20):  # new episodes, without the noise of exploration
        seen, info = env.reset(seed=seed)
        done = False
        while not done:
            action, _ = model.predict(envs.normalize_obs(seen), deterministic=True)
            seen, _, terminated, truncated, info = env.step(action)
            done = terminated or truncated
            if seed < 3:
                frames.append(env.render())
        solved.append(info["is_success"])
    print(f"without noise {sum(solved)} of {len(solved)} new episodes succeed")
    write_video(options.video, frames, fps=env.metadata["render_fps"])
    print(f"wrote {options.video}")


if __name__ == "__main__":
    main()
