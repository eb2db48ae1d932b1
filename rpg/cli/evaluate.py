"""``diffsim-rpg evaluate``: success and returns of a run's policy, on its own task or another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import tyro

from rpg.cli.output import Output
from rpg.cli.stored_run import StoredRunOptions, built, named_task, opened
from rpg.settings_checks import SettingError

if TYPE_CHECKING:
    from rpg.runs.run import Run

PROG = "diffsim-rpg evaluate"
DESCRIPTION = """Evaluate every latent of a run without noise: success and returns from first states that training did not use.

With --task it is another task than the run's own, of the same shape; --task.NAME sets a parameter of the task, which
`diffsim-rpg evaluate RUN --help` lists. Nothing is written."""


@dataclass(frozen=True)
class EvaluateOptions(StoredRunOptions):
    """The run and its evaluation."""

    episodes: int | None = None
    """Number of first states; as many as the run trained with if not given."""
    seed: int | None = None
    """Seed of the first states; the one that result.json was made with if not given."""


def evaluate(arguments: list[str]) -> Callable[[], int]:
    """Read the arguments; what is to be done then. They are read twice: the second time with the task's parameters."""
    wants_help = any(argument in ("-h", "--help") for argument in arguments)
    given = [argument for argument in arguments if argument not in ("-h", "--help")]
    options, others = tyro.cli(EvaluateOptions, args=given, prog=PROG, description=DESCRIPTION, return_unknown_args=True)
    if not others and (not wants_help or all(argument.startswith("-") for argument in arguments)):
        tyro.cli(EvaluateOptions, args=arguments, prog=PROG, description=DESCRIPTION)  # for its help
        out = Output(options)
        return partial(_evaluated, options, None, out, opened(options, out))
    out = Output(options)
    run = opened(options, out)

    from rpg.cli.setting_options import combined_options, parsed_options

    default = combined_options(options=EvaluateOptions(), parameters=run.parameters(named_task(run, options)))
    chosen = parsed_options(default, arguments, prog=PROG, description=DESCRIPTION)
    return partial(_evaluated, chosen.options, getattr(chosen, "parameters", None), out, run)


def _evaluated(options: EvaluateOptions, parameters: Any | None, out: Output, run: Run) -> int:
    from rpg.training.evaluation import EVALUATION_SEED

    if options.episodes is not None and options.episodes < 1:
        raise SettingError(f"--episodes was given {options.episodes}; allowed are whole numbers >= 1")
    environment = built(run, options, out, options.episodes, parameters)
    with out.step("evaluating every latent"):
        found = run.evaluate(environment, seed=EVALUATION_SEED if options.seed is None else options.seed)
    rows = [
        (str(each.latent), f"{each.probability:.0%}", f"{each.episode_return:.2f}", f"{each.success:.0%}")
        for each in sorted(found.evaluations, key=lambda each: -each.probability)
    ]
    out.table(("latent", "pi(z)", "return", "success"), rows, title=f"{run.path}: {found.episodes} episodes each")
    solutions = ", ".join(mode.name for mode in found.modes if mode.success >= 0.5) or "none"
    out.say(
        f"success {found.success:.0%} (the most probable latent), {found.expected_success:.0%} (mean under pi(z)); "
        f"return {found.episode_return:.2f}; solutions: {solutions}"
    )
    out.finish(
        {
            "run": str(run.path),
            "episodes": found.episodes,
            "policy_success": found.success,
            "expected_success": found.expected_success,
            "return": found.episode_return,
            "modes": [
                {"name": mode.name, "episode_return": mode.episode_return, "success": mode.success, "latent": mode.latent}
                for mode in found.modes
            ],
        }
    )
    return 0
