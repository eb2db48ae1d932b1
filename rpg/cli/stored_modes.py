"""The solutions of a run, for the sub-commands that show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpg.cli.output import Output
from rpg.cli.stored_run import StoredRunOptions
from rpg.settings_checks import SettingError

if TYPE_CHECKING:
    from rpg.runs.run import Run
    from rpg.training.modes import Mode

TASK_ENTRIES = ("task_reference", "task_file", "task_parameters")
"""What result.json says about the task from the run's first moment on."""


@dataclass(frozen=True)
class StoredModesOptions(StoredRunOptions):
    """The run, and which of its solutions."""

    modes: tuple[int, ...] = ()
    """Numbers of the solutions to be shown, from 0, the best; all if none are given."""


def shown_modes(options: StoredModesOptions, out: Output, run: Run, environment: Any) -> list[Mode]:
    """The solutions that were asked for.

    Raises:
        SettingError: there is no such number.
    """
    modes = _modes(options, out, run, environment)
    return [_numbered(modes, number) for number in options.modes] if options.modes else modes


def _modes(options: StoredModesOptions, out: Output, run: Run, environment: Any) -> list[Mode]:
    """The stored solutions, if they are of this iteration; else evaluated ones, stored unless they are of best.pt."""
    from rpg.cli.run_report import write_report
    from rpg.training.run_lock import RunLock

    if "modes" in run.result and run.result["iterations"] == run.iteration:
        return run.modes
    with out.step("evaluating every latent"):
        found = run.evaluate(environment)
    if not options.best:
        with RunLock(run.path):
            entries = {name: run.result[name] for name in TASK_ENTRIES if name in run.result}
            write_report(run, run.path, found.evaluations, found.modes, {**entries, "status": "interrupted"})
    return list(found.modes)


def _numbered(modes: list[Mode], number: int) -> Mode:
    if not 0 <= number < len(modes):
        raise SettingError(f"--modes was given {number}; the run has {len(modes)} solutions, numbered from 0")
    return modes[number]
