"""pi(z|s1): which of K ways an episode will try, drawn once at its start."""

import torch
from torch import Tensor, nn


class CategoricalLatent(nn.Module):
    """K logits, the same for every first state s1.

    The tasks start from one narrow distribution, so s1 tells nothing about which way to choose, and a network
    from s1 to logits would only add noise to the REINFORCE gradient.
    """

    def __init__(
        self, num_latents: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        self.num_latents = num_latents
        self.logits = nn.Parameter(torch.zeros(num_latents, dtype=dtype, device=device))

    def sample(self, generator: torch.Generator, batch: int) -> Tensor:
        """(batch,) int64 draws. `generator` lives on the CPU: a seed means the same on every device."""
        probs = self.probs().detach().cpu()
        return torch.multinomial(probs, batch, replacement=True, generator=generator).to(self.logits.device)

    def log_prob(self, latent: Tensor) -> Tensor:
        """(B,) log pi(z) of `latent` (B,), differentiable in the logits."""
        return torch.log_softmax(self.logits, dim=0)[latent]

    def probs(self) -> Tensor:
        """(K,) pi(z)."""
        return torch.softmax(self.logits, dim=0)

    def entropy(self) -> Tensor:
        """() entropy of pi(z) in nats. How spread the choice is, not how different the choices are."""
        log_probs = torch.log_softmax(self.logits, dim=0)
        return -(log_probs.exp() * log_probs).sum()
