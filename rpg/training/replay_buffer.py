"""The memory of streaming algorithms: steps of B environments in a ring, drawn one by one or as segments of episodes, and
saved to files that are only ever appended to."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rpg.protocol import Observation
from rpg.training.ring_storage import RingStorage

FOLDER_NAME = "replay"
_NEXT, _NEXT_PREFIX = "next_observation", "next_"


class Transitions(NamedTuple):
    """Steps, with any leading dimensions (...): (N,) of single ones, (K, N) of segments."""

    observation: Observation
    """(..., *shape)."""
    action: Tensor
    """(..., A) in [-1, 1]."""
    reward: Tensor
    """(...)."""
    next_observation: Observation
    """(..., *shape): at an episode's end the final one."""
    terminated: Tensor
    """(...) bool."""
    truncated: Tensor
    """(...) bool."""
    latent: Tensor
    """(...) int64 or (..., D): z, under which the action was chosen."""
    episode: Tensor
    """(...) int64, the episode's number: different for each episode of each environment."""
    age: Tensor
    """(...) int64, steps since the episode began."""
    log_prob: Tensor
    """(...) log density of the action under the policy that chose it, pi_b."""


Relabel = Callable[[Transitions], Tensor]
"""The rewards (...) to learn from instead of those that the environment gave."""


class ReplayBuffer:
    """The last `capacity` steps of `num_envs` environments.

    `relabels` are applied to the rewards of all that is drawn, in this order: a novelty bonus, a learned reward. What is stored
    never changes, so files can be appended to: after `attach(folder)`, `flush` writes what has been added since, and `restore`
    reads it again. Without a folder, `restore` can go back by `slack` steps at most.

    A next observation is stored only where it differs from the observation of the environment's next step, at ends of episodes.
    """

    def __init__(self, capacity: int, *, num_envs: int, slack: int, device: torch.device | str = "cpu") -> None:
        """`slack` is the number of steps that may be undone; both are rounded up to whole steps of all environments. What is
        drawn comes to `device`; the buffer itself is in the CPU's memory.
        """
        self.num_envs, self.device = num_envs, torch.device(device)
        self.capacity = -(-capacity // num_envs) * num_envs
        self.relabels: list[Relabel] = []
        slack = -(-slack // num_envs) * num_envs
        size = self.capacity + slack
        self._steps = RingStorage("steps", size, slack=slack)
        self._finals = RingStorage("finals", size, slack=slack)  # next observations
        self._links = RingStorage("links", size, slack=slack)  # of each step but the newest: its row in `_finals`, or -1
        self._newest: dict[str, Tensor] = {}  # next observations (B, ...) of the newest steps

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    @property
    def total(self) -> int:
        """Steps added so far, those that were overwritten included."""
        return self._steps.total

    # Adding and drawing -------------------------------------------------------------------------------------------

    def add(self, transitions: Transitions) -> None:
        """Append one step of every environment, (B, ...), detached."""
        flat = _flat(transitions)
        following = {name: flat.pop(name) for name in list(flat) if name.startswith(_NEXT)}
        if self._newest:
            same = [
                (flat[name.removeprefix(_NEXT_PREFIX)] == each).view(self.num_envs, -1) for name, each in self._newest.items()
            ]
            changed = ~torch.cat(same, dim=1).all(1).cpu()
            links = torch.full((self.num_envs,), -1)
            if bool(changed.any()):
                links = torch.where(changed, self._finals.total - 1 + changed.cumsum(0), links)
                self._finals.append({name: each[changed.to(each.device)] for name, each in self._newest.items()})
            self._links.append({"final": links})
        self._steps.append(flat)
        self._newest = following

    def sample(self, count: int, generator: torch.Generator, *, relabel: bool = True, part: slice = slice(None)) -> Transitions:
        """`count` steps (N,), drawn uniformly with replacement, or `part` of them; without `relabel` with the rewards that are
        stored."""
        place = torch.randint(len(self), (count,), generator=generator) + (self.total - len(self))
        return self._at(place[part], relabel)

    def segments(self, length: int, count: int, generator: torch.Generator, *, part: slice = slice(None)) -> Transitions:
        """`count` runs of `length` successive steps of one episode, (K, N), uniformly among all there are, or `part` of them.

        Raises ValueError if there is none.
        """
        oldest, steps = self.total - len(self), len(self) - (length - 1) * self.num_envs
        found = torch.empty(0, dtype=torch.int64)
        for _ in range(8):  # most starts are good, unless episodes are hardly longer than segments
            if steps > 0 and len(found) < count:
                drawn = torch.randint(steps, (2 * (count - len(found)),), generator=generator) + oldest
                found = torch.cat([found, drawn[self._whole(drawn, length)]])
        if len(found) < count:
            starts = torch.arange(oldest, oldest + max(steps, 0))
            starts = starts[self._whole(starts, length)]
            if not len(starts):
                raise ValueError(f"length was given {length}; allowed are lengths that an episode in the buffer reaches")
            found = starts[torch.randint(len(starts), (count,), generator=generator)]
        return self._at(found[:count][part] + torch.arange(length).unsqueeze(1) * self.num_envs)

    def recent(self, count: int, *, relabel: bool = True) -> Transitions:
        """The last `count` steps, (N,), oldest first, or all if there are fewer."""
        return self._at(torch.arange(self.total - min(count, len(self)), self.total), relabel)

    def _whole(self, place: Tensor, length: int) -> Tensor:
        """Whether the segments from `place` on stay within their episodes."""
        last = place + (length - 1) * self.num_envs
        first, end = (self._steps.at(each, ["episode"])["episode"] for each in (place, last))
        return first == end

    def _at(self, place: Tensor, relabel: bool = True) -> Transitions:
        """The steps `place` (...), by default with their rewards relabelled."""
        flat = place.flatten()
        drawn = {**self._steps.at(flat), **self._following(flat)}
        drawn = {name: each.to(self.device).unflatten(0, place.shape) for name, each in drawn.items()}
        transitions = _unflat(drawn)
        for new_reward in self.relabels if relabel else ():
            transitions = transitions._replace(reward=new_reward(transitions))
        return transitions

    def _following(self, place: Tensor) -> dict[str, Tensor]:
        """The next observations of the steps `place` (n,)."""
        after = place + self.num_envs
        newest = after >= self.total
        names = {name.removeprefix(_NEXT_PREFIX): name for name in self._newest}
        found = self._steps.at(torch.where(newest, place, after), list(names))
        following = {names[name]: each for name, each in found.items()}
        if bool(newest.any()):
            rows = (after - self.total)[newest]
            for name, each in following.items():
                each[newest] = self._newest[name].cpu()[rows]
        if self._finals.total > 0:
            links = self._links.at(torch.where(newest, self.total - 2 * self.num_envs, place))["final"]
            ended = (links >= 0) & ~newest
            if bool(ended.any()):
                for name, each in self._finals.at(links[ended]).items():
                    following[name][ended] = each
        return following

    # Files --------------------------------------------------------------------------------------------------------

    def attach(self, run_dir: Path, *, source: Path | None = None) -> None:
        """Keep the steps in files of `run_dir`/replay from now on, one for each quantity, without end; begin with a copy of
        those of the run in `source`.
        """
        folder = run_dir / FOLDER_NAME
        if source is not None and (source / FOLDER_NAME).exists():
            shutil.copytree(source / FOLDER_NAME, folder, dirs_exist_ok=True)
        for ring in (self._steps, self._links, self._finals):
            ring.folder = folder

    def flush(self) -> None:
        """Append what has been added since the last time to the files; what they hold beyond that is cut off."""
        for ring in (self._steps, self._links, self._finals):
            ring.flush()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds; the steps are in the files or, for a short while, in memory."""
        return {"total": self.total, "finals": self._finals.total, "newest": dict(self._newest)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`, in memory if it is recent, else from the files.

        Raises FileNotFoundError, naming it, if a file lacks steps.
        """
        self._steps.restore(state["total"])
        self._links.restore(max(0, state["total"] - self.num_envs))
        self._finals.restore(state["finals"])
        self._newest = dict(state["newest"])


def _flat(transitions: Transitions) -> dict[str, Tensor]:
    """The tensors by name, those of dict observations as "observation/key"."""
    flat: dict[str, Tensor] = {}
    for name, each in transitions._asdict().items():
        flat |= {f"{name}/{key}": value for key, value in each.items()} if isinstance(each, dict) else {name: each}
    return flat


def _unflat(flat: dict[str, Tensor]) -> Transitions:
    """The inverse."""
    values: dict[str, Any] = {}
    for name, each in flat.items():
        own, slash, key = name.partition("/")
        if slash:
            values.setdefault(own, {})[key] = each
        else:
            values[own] = each
    return Transitions(**values)
