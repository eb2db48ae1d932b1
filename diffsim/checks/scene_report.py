"""`check`: what can be said of a scene before anything is compiled or simulated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from diffsim.checks.cost_estimate import CostEstimate, estimate_costs
from diffsim.checks.findings import SEVERITIES, Finding, worst_first
from diffsim.checks.memory import machine_memory
from diffsim.checks.precision_findings import precision_findings
from diffsim.checks.simulator_checks import check_settings
from diffsim.coupling.light_bodies import light_body_findings
from diffsim.rigid.rigid_dynamics import rigid_model
from diffsim.rigid.rigid_model import RigidModel
from diffsim.rigid.rigid_step_limits import rigid_step_findings
from diffsim.rigid.time_stepping import INTEGRATORS
from diffsim.scene.overlaps import overlap_findings
from diffsim.scene.scene import Scene
from diffsim.soft.resolution import coupling_findings, domain_findings, resolution_findings
from diffsim.soft.soft_step_limits import soft_step_findings

WIDTH = 140  # of the printed report


@dataclass(frozen=True)
class SceneReport:
    """What `check` found.

    Attributes:
        findings: the worst first.
        largest_dt: the longest substep that every body bears, s; infinite where nothing limits it. Of tools' speeds, which the
            actions set, nothing is known here: a tool should not move by more than a cell, or its thickness, in a substep.
        costs: memory and time of control steps, an estimate.
    """

    findings: tuple[Finding, ...]
    largest_dt: float
    costs: CostEstimate

    @property
    def ok(self) -> bool:
        """Whether there is neither a warning nor an error."""
        return self.worst is None or self.worst.rank < SEVERITIES.index("warning")

    @property
    def worst(self) -> Finding | None:
        """The first of the findings that is not fine, or None."""
        return next((finding for finding in self.findings if finding.severity != "fine"), None)

    def of(self, what: str) -> tuple[Finding, ...]:
        """The findings of one kind, as "overlap"."""
        return tuple(finding for finding in self.findings if finding.what == what)

    def __str__(self) -> str:
        """A table of the findings, what to do about those that are not fine, and the costs."""
        table = Table("", "what", "name", "found", "allowed", box=None, pad_edge=False)
        for finding in self.findings:
            found, allowed = (f"{value:.3g} {finding.unit}".removesuffix(" 1") for value in (finding.value, finding.allowed))
            table.add_row(finding.severity, finding.what, finding.name, found, allowed)
        console = Console(width=WIDTH, color_system=None)
        with console.capture() as capture:
            console.print(table)
        lines = [line.rstrip() for line in capture.get().rstrip().splitlines()]
        told = [f"{finding.severity}: {finding}" for finding in self.findings if finding.text]
        return "\n".join([*lines, *([""] if told else []), *told, "", *self._summary()])

    def _summary(self) -> list[str]:
        limit = "nothing limits dt" if self.largest_dt == float("inf") else f"largest stable dt {self.largest_dt:.2e} s"
        return [f"{limit} (the tools' speed aside)", str(self.costs)]


def check(
    scene: Scene,
    dt: float = 1e-3,
    substeps: int = 20,
    num_envs: int = 1,
    dtype: torch.dtype = torch.float32,
    integrator: str = INTEGRATORS[0],
) -> SceneReport:
    """Look at a scene before it is simulated: resolution, overlaps, the domain, the longest stable substep, single precision,
    memory and time. Nothing is compiled, and nothing is logged; `Simulator` logs the warnings and errors of the same findings.

    Args:
        scene, dt, substeps, num_envs, dtype, integrator: as of `Simulator`.

    Raises:
        InputError: as `Simulator`.
    """
    check_settings(scene, num_envs, dt, substeps, dtype, integrator)
    model = rigid_model(scene, dt) if scene.moving_articulations or scene.off_grid else None
    costs = estimate_costs(scene, model, substeps=substeps, num_envs=num_envs, dtype=dtype)
    found = worst_first([*scene_findings(scene, model, dt=dt, dtype=dtype), _memory(costs)])
    limits = [finding.allowed for finding in found if finding.what == "time step"]
    return SceneReport(tuple(found), min(limits, default=float("inf")), costs)


def scene_findings(scene: Scene, model: RigidModel | None, *, dt: float, dtype: torch.dtype) -> Iterator[Finding]:
    """Of the scene and its substep; ``model`` is that of its rigid things."""
    yield from soft_step_findings(scene, dt)
    if model is not None:
        yield from rigid_step_findings(model)
    yield from coupling_findings(scene)
    yield from resolution_findings(scene)
    yield from domain_findings(scene)
    yield from overlap_findings(scene, model)
    yield from light_body_findings(scene, model)
    if dtype == torch.float32:
        yield from precision_findings(scene, model, dt)


def _memory(costs: CostEstimate) -> Finding:
    """Of one control step and its gradient against that of the machine."""
    needed, available = float(costs.backward_bytes), machine_memory()
    found = partial(Finding, what="memory", name="a control step and its gradient", value=needed / 1e9, unit="GB")
    if needed <= available:
        return found("fine", allowed=available / 1e9)
    return found(
        "error", allowed=available / 1e9,
        text=f"a control step and its gradient need about {needed / 1e9:.3g} GB, and this machine has {available / 1e9:.3g} GB",
        advice="use fewer environments, particles or substeps, or a coarser grid",
    )  # fmt: skip
