"""Short-Horizon Actor-Critic (SHAC; Xu et al., ICLR 2022, arXiv:2204.07137).

An episode is divided into windows of h steps. A window is rolled out with the current actor, whose gradient comes through the
simulator within the window and through a critic for the reward after it:

    J = E[ sum_{i<h} gamma^i r_{t+i} + gamma^h V'(s_{t+h}) ] / h

The actor takes one step on J after every window, and the state is cut from the graph, so no gradient crosses from window to
window. Then the critic V is fitted to the TD(lambda) targets of the window, computed with the target critic V', and V' moves
towards V. Where an episode ends within a window, J is the sum of its pieces, and gamma begins anew; V' is 0 after an end for
good, and that of the final state after a time-out or where the state has failed (`rpg.training.windows`).

The equations and the form of networks and optimisers are those of the official code: LayerNorm and ELU, orthogonal weights of
gain sqrt 2, a tanh-squashed Gaussian whose std does not depend on the state, Adam with betas (0.7, 0.95), learning rates that
fall linearly to 1e-5, 16 passes of 4 minibatches for the critic. Where this differs:

- A horizon that is part of the problem, as in most environments here, is an end for good, and the networks see the time.
- All environments are reset together at the start of an iteration, which is one batch of whole episodes; the last window of an
  episode may be shorter. Learning rates and running scales change once an iteration, not with every window.
- Targets are divided by their standard deviation (`scale_values`), minibatches are drawn anew in each pass, and a gradient of
  any finite size is clipped, where the official code stops above 1e6.
- The std is held within [0.01, 2].
- Where actor and critic share an encoder, the official code bootstraps from the observation *before* the last step, V'(s_t) for
  V'(s_{t+1}). The paper does not, and neither does this.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from rpg.algorithms.short_horizon import OfficialTask, ShortHorizonAlgorithm, ShortHorizonConfig, official_settings
from rpg.models.network import NetworkForm
from rpg.models.value import ValueEnsemble, td_lambda_targets
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import check_fraction, check_int
from rpg.training.windows import Window, values_after, window_objective


@dataclass(frozen=True)
class SHACConfig(ShortHorizonConfig):
    """Settings of Short-Horizon Actor-Critic. They assume rewards of order 1 per step.

    The defaults are the official values (`official`), but for what only makes sense with millions of steps and episodes of
    hundreds: networks are narrower, windows shorter, and the learning rates larger, since a run here has some hundred windows
    for their 2000 and more.
    """

    names: ClassVar[tuple[str, ...]] = ("shac",)

    std_start: float = math.exp(-1)
    """Initial standard deviation of the action before squashing; it is learned."""
    window: int = 16
    """h: steps after which the gradient is cut and the critic takes over."""
    target_rate: float = 0.8
    """Fraction of the way that the target critic moves to the critic after every window."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("window", self.window, at_least=1)
        check_fraction("target_rate", self.target_rate)

    @classmethod
    def official(cls, task: OfficialTask = "AntRun", **changes: Any) -> "SHACConfig":
        """The official values, for the ant or for the other tasks of Rewarped (arXiv:2412.12089), with `changes`.

        They go with 64 or 32 environments and 2000 to 6000 windows; set `iterations` to that number times 32 over the horizon.
        """
        own = {"value_learning_rate": 2e-3, "target_rate": 1 - 0.2} if task == "AntRun" else {"target_rate": 1 - 0.995}
        return cls(**{**official_settings(task), **own, **changes})


class SHAC(ShortHorizonAlgorithm[SHACConfig]):
    """Short-Horizon Actor-Critic; see the module's docstring."""

    form = NetworkForm("elu", layer_norm=True, gain=math.sqrt(2))
    critic_count = 1

    def __init__(self, env: FixedHorizonEnvironment, config: SHACConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        self.target = copy.deepcopy(self.critics)  # V'
        self.modules["target"] = self.target

    def window_length(self) -> int:
        return self.config.window

    def critic_ensembles(self) -> tuple[ValueEnsemble, ...]:
        return self.critics, self.target

    def learn(self, window: Window, iteration: int) -> tuple[Tensor, dict[str, float]]:
        config = self.config
        (values,) = values_after(self.target, window)
        objective = window_objective(window, window.rewards, values, discount=config.discount)
        row = self.improve_actor(objective, window, iteration)

        targets = td_lambda_targets(
            window.rewards.detach(), values.detach(), discount=config.discount, trace=config.trace, ended=window.ended
        )
        row |= self.fit_critics(window, targets, iteration)
        self.target.follow(self.critics, config.target_rate)
        return targets, row
