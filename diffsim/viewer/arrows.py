"""Forces and gradients as arrows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from diffsim.forces.contacts import Contacts
from diffsim.simulator import Simulator
from diffsim.state import State

MOST_ARROWS = 80  # of one kind at one time, the largest; more hide each other
WEAKEST = 0.06  # share of the full length below which an arrow is left out
POSE = 7  # coordinates of a free body: position and quaternion
FULL_LENGTH = 98.0  # percentile of the magnitudes that is drawn at full length; larger ones are no longer


@dataclass(frozen=True, eq=False)
class Arrows:
    """N arrows at one time.

    Attributes:
        starts: world positions, m, (N, 3).
        vectors: in the world's axes, in units of their own, (N, 3).
    """

    starts: np.ndarray
    vectors: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Lengths of the vectors (N,)."""
        return np.linalg.norm(self.vectors, axis=1)

    def drawn(self, scale: float, longest: float) -> np.ndarray:
        """First and last points (M, 2, 3), m, of those that can be seen, where a vector of size ``scale`` is ``longest`` m."""
        sizes = self.sizes
        shown = np.flatnonzero(np.isfinite(sizes) & (sizes > WEAKEST * scale))
        shown = shown[np.argsort(-sizes[shown], kind="stable")[:MOST_ARROWS]]
        lengths = longest * np.minimum(sizes[shown] / scale, 1.0)
        tips = self.starts[shown] + self.vectors[shown] * (lengths / sizes[shown])[:, None]
        return np.stack([self.starts[shown], tips], axis=1)


def common_scale(arrows: Sequence[Arrows]) -> float:
    """The size that is drawn at full length, of arrows that shall be compared; 0 if there are none to see."""
    sizes = np.concatenate([np.zeros(0), *(each.sizes for each in arrows)])
    sizes = sizes[np.isfinite(sizes) & (sizes > 0.0)]
    return float(np.percentile(sizes, FULL_LENGTH)) if len(sizes) else 0.0


def force_arrows(contacts: Contacts) -> Arrows:
    """Contact forces, N, of one environment, on what comes first in each contact (of a soft body: on it)."""
    return Arrows(_array(contacts.point), _array(contacts.force))


def gradient_arrows(simulator: Simulator, state: State, gradient: State) -> Arrows:
    """Where an objective grows: its gradient by the positions of particles, tools and free bodies, of one environment.

    Particles share a gradient that one tool has alone, so each kind is measured by the largest of its own at this time.

    Args:
        state: of one environment.
        gradient: the objective's derivatives by the state's fields x, tool_position and q, in their places.
    """
    free = _free_bodies(simulator)
    starts = [_array(state.x[0]), _array(state.tool_position[0])]
    vectors = [_array(gradient.x[0]), _array(gradient.tool_position[0])]
    if free:
        starts.append(np.stack([_array(state.q[0, at][:3]) for at in free]))
        vectors.append(np.stack([_array(gradient.q[0, at][:3]) for at in free]))
    chosen = np.arange(0, len(starts[0]), max(1, len(starts[0]) // MOST_ARROWS))
    starts[0], vectors[0] = starts[0][chosen], vectors[0][chosen]
    return Arrows(np.concatenate(starts), np.concatenate([_measured(each) for each in vectors]))


def has_gradient_arrows(simulator: Simulator) -> bool:
    """Whether there is anything that they begin at."""
    return bool(simulator.num_particles or simulator.scene.tools or _free_bodies(simulator))


def _free_bodies(simulator: Simulator) -> list[slice]:
    """Places in q of what moves freely: a position and a quaternion."""
    places = [link.coordinates for link in simulator.link_infos if link.joint.type.root_only]
    return [at for at in places if at.stop - at.start == POSE]


def _measured(vectors: np.ndarray) -> np.ndarray:
    """Over the largest of them; as they are if that is 0."""
    largest = float(np.linalg.norm(vectors, axis=1).max(initial=0.0))
    return vectors / largest if 0.0 < largest < np.inf else np.zeros_like(vectors)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
