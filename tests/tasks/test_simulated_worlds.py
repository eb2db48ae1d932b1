"""The tasks of the model-based RPG paper on the rigid simulator: what they reward, and that they see what matters."""

import torch

from benchmarks.rpg.simulated_worlds import DenseCabinet, SparseBlockPush
from rpg.environments.block_push import BlockPush
from rpg.protocol import check_environment

WAY = [
    (0.0, -0.6),
    (0.0, 0.95),
    (0.6, 0.95),
    (0.6, -0.6),
    (-1.2, -0.6),
    (-1.2, 0.95),
    (-0.6, 0.95),
    (-0.6, 1.35),
    (-0.95, 1.35),
]
"""Of the pusher: the right block up, then the left one, with 15 cm to the left at the end."""


def test_a_scripted_pusher_pushes_both_blocks_and_only_then_earns():
    task = SparseBlockPush(1)
    first = check_environment(task)
    closed_form = BlockPush(num_envs=1)
    torch.testing.assert_close(first, closed_form.observe(closed_form.reset(0)))
    episode, way = task.reset(0), list(WAY)
    rewards: list[float] = []
    with torch.no_grad():
        while way and len(rewards) < task.horizon:
            gap = torch.tensor(way[0]) - episode.state.q[0, 4:]
            if float(gap.abs().max()) < 0.06:
                way.pop(0)
                continue
            episode, reward, info = task.step(episode, (gap / 0.32).clamp(-1, 1).unsqueeze(0))
            rewards.append(float(reward[0]))
    assert not way
    assert bool(info["success"])
    assert task.outcome_names[int(info["outcome"])] == "the right block first"
    gained = rewards.index(1.0)
    assert rewards == [0.0] * gained + [1.0] * (len(rewards) - gained)


def test_the_nearer_door_is_worth_less():
    task = DenseCabinet(2)
    episode = task.reset(0)
    left, right = task.handle_distances(episode.state).unbind(1)
    assert bool((left > right).all())
    hand = task.hand(episode.state) - torch.tensor(task.start)
    assert float(hand.abs().max()) < 0.021  # the spread of the start: inverse kinematics has converged
    torch.testing.assert_close(task.handle_offsets(episode.state).norm(dim=2), torch.stack([left, right], 1), atol=1e-4, rtol=0)
    q = episode.state.q.clone()
    for environment, name in enumerate(("left", "right")):
        q[environment, task.sim.joint(f"cabinet.{name}").coordinates] = 1.4
    opened = episode.replace(state=episode.state.replace(q=q))
    assert task.success(opened).tolist() == [True, False]
    assert task.outcome(opened).tolist() == [0, 1]
    assert task.opened(opened.state).tolist() == [[True, False], [False, True]]
    assert task.observation(opened).shape == (2, 31)
