"""Soft Analytic Policy Optimization (SAPO; Xing et al., ICLR 2025, arXiv:2412.12089).

Maximum-entropy learning through the simulator, in windows of h steps. The actor maximises, by the simulator's gradient within
the window and through the critics for the reward after it,

    J = E[ sum_{i<h} gamma^i (r_{t+i} + alpha h_{t+i}) + gamma^h V(s_{t+h}) ] / h

and takes one step after every window; the state is then cut from the graph, so no gradient crosses from window to window. Then
alpha takes a step, and the critics are fitted to the TD(lambda) targets of the window, with r + alpha h for r. Ends of episodes
within a window are treated as in SHAC.

**Entropy.** H(s) is -log pi(a|s) of a second, reparameterised sample a, summed over the dimensions. With the target Hbar, -A/2
for A dimensions, the bonus is shifted and scaled, so that it is not negative at the target and does not grow with A:

    h = (H + |Hbar|) / 2 / |Hbar|,        loss of alpha = alpha |Hbar| (mean H - Hbar)

alpha is learned as its logarithm, and falls while the entropy is above its target.

**Critics.** There are two. The actor uses their mean at the end of a window, because it has the better gradient; the targets
use their minimum, because overestimates would reinforce themselves. Neither has a target network.

The form is the official one: LayerNorm and SiLU, orthogonal weights of gain 1, a std that is a function of the state with its
logarithm clamped to [-5, 2], AdamW with betas (0.7, 0.95), gradient norms of at most 0.5. The differences are those of
`rpg.algorithms.shac`, but for the std.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rpg.algorithms.short_horizon import BETAS, OfficialTask, ShortHorizonAlgorithm, ShortHorizonConfig, official_settings
from rpg.models.network import NetworkForm
from rpg.models.value import td_lambda_targets
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import check_int, check_not_negative, check_positive
from rpg.training.windows import Window, values_after, window_objective


@dataclass(frozen=True)
class SAPOConfig(ShortHorizonConfig):
    """Settings of Soft Analytic Policy Optimization. They assume rewards of order 1 per step.

    The defaults are the official values (`official`), but for what only makes sense with millions of steps and episodes of
    hundreds: networks are narrower, windows shorter, and the learning rates, alpha's too, larger, since a run here has some
    hundred windows for their 2000 and more.
    """

    names: ClassVar[tuple[str, ...]] = ("sapo",)

    grad_clip: float = 0.5
    """Largest gradient norm, separately for the actor, the critics together, and alpha."""
    window: int = 16
    """h: steps after which the gradient is cut and the critics take over."""
    target_entropy: float = -0.5
    """Entropy of an action, nats per dimension, that alpha is adapted to."""
    normalize_entropy: bool = True
    """Whether the bonus is shifted and scaled by the target entropy; otherwise it is the entropy itself."""
    alpha_start: float = 1.0
    """Initial alpha."""
    alpha_learning_rate: float = 0.02
    """Step of log alpha; 0 keeps alpha constant."""
    weight_decay: float = 0.01
    """Weight decay of AdamW, for the actor and the critics; 0 makes it Adam."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("window", self.window, at_least=1)
        check_positive("alpha_start", self.alpha_start)
        for name in ("alpha_learning_rate", "weight_decay"):
            check_not_negative(name, getattr(self, name))
        if not -math.inf < self.target_entropy < math.log(2):
            allowed = "finite numbers < log 2, the entropy of uniform actions"
            raise ValueError(f"target_entropy was given {self.target_entropy!r}; allowed are {allowed}")
        if self.normalize_entropy and self.target_entropy == 0:
            raise ValueError("target_entropy was given 0.0; allowed with normalize_entropy are numbers other than 0")

    @classmethod
    def official(cls, task: OfficialTask = "AntRun", **changes: Any) -> "SAPOConfig":
        """The official values, for the ant or for the other tasks of Rewarped, with `changes`.

        They go with 64 or 32 environments and 2000 to 6000 windows; set `iterations` to that number times 32 over the horizon.
        """
        return cls(**{**official_settings(task), "alpha_learning_rate": 5e-3, **changes})


class SAPO(ShortHorizonAlgorithm[SAPOConfig]):
    """Soft Analytic Policy Optimization; see the module's docstring."""

    form = NetworkForm("silu", layer_norm=True, gain=1.0)
    critic_count = 2
    std_of_state = True
    second_sample = True

    def __init__(self, env: FixedHorizonEnvironment, config: SAPOConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(config.alpha_start), dtype=like.dtype, device=like.device))
        self.modules["alpha"] = nn.ParameterDict({"log": self.log_alpha})
        self.optimizers["alpha"] = torch.optim.Adam([self.log_alpha], lr=config.alpha_learning_rate, betas=BETAS)
        self.target_entropy = config.target_entropy * env.action_dim  # Hbar
        self.entropy_scale = abs(self.target_entropy) if config.normalize_entropy else 1.0

    def optimizer(self, name: str) -> torch.optim.Optimizer:
        parameters, decay = self.modules[name].parameters(), self.config.weight_decay
        return torch.optim.AdamW(parameters, lr=self._rates[name], betas=BETAS, weight_decay=decay, fused=True)

    def window_length(self) -> int:
        return self.config.window

    def learn(self, window: Window, iteration: int) -> tuple[Tensor, dict[str, float]]:
        config, alpha = self.config, float(self.log_alpha.detach().exp())
        soft = window.rewards + alpha * self.bonus(window.entropies)
        values = values_after(self.critics, window)
        objective = window_objective(window, soft, values.mean(0), discount=config.discount)
        row = self.improve_actor(objective, window, iteration)
        row |= {"alpha": alpha, "alpha_loss": self.tune_alpha(window.entropies[window.counted], iteration)}

        targets = td_lambda_targets(
            soft.detach(), values.detach().amin(0), discount=config.discount, trace=config.trace, ended=window.ended
        )
        row |= self.fit_critics(window, targets, iteration)
        return targets, row

    def bonus(self, entropies: Tensor) -> Tensor:
        """h of `entropies`."""
        if not self.config.normalize_entropy:
            return entropies
        return (entropies + abs(self.target_entropy)) / 2 / self.entropy_scale

    def tune_alpha(self, entropies: Tensor, iteration: int) -> float:
        """One step of log alpha; returns the loss."""
        self.optimizers["alpha"].zero_grad()
        loss = self.log_alpha.exp() * self.entropy_scale * (entropies.detach().mean() - self.target_entropy)
        loss.backward()
        self.stepped("alpha", iteration=iteration, limit=self.config.grad_clip)
        return float(loss.detach())
