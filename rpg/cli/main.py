"""Entry point: sub-commands, and the one place that turns a user's mistake into one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tyro
from rich.console import Console

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the process's exit code (0 done, 1 physics or optimisation failed, 2 wrong input, 130
    interrupted, 143 terminated)."""
    from rpg.algorithms.algorithm import NotFiniteError
    from rpg.cli.optimize import optimize
    from rpg.cli.render import render
    from rpg.cli.task_lookup import list_algorithms, list_tasks
    from rpg.protocol import ProtocolError
    from rpg.settings_checks import SettingError
    from rpg.training.checkpoint import CheckpointError, CheckpointMismatch
    from rpg.training.run_lock import RunLockedError

    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    mistakes = (
        CheckpointError,
        CheckpointMismatch,
        ProtocolError,
        RunLockedError,
        SettingError,
        FileExistsError,
        FileNotFoundError,
        NotADirectoryError,
        PermissionError,
    )
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            {"optimize": optimize, "render": render, "tasks": list_tasks, "algorithms": list_algorithms},
            prog="diffsim-rpg",
            description="Differentiable manipulation: optimise a task, render what was found, list the tasks.",
            args=arguments,
        )
        return int(code or 0)
    except mistakes as error:
        errors.print(f"error: {' '.join(str(error).splitlines())}")
        return 2
    except NotFiniteError as error:
        errors.print(f"optimisation failed: {error}")
        return 1
    except FloatingPointError as error:  # an environment's own
        errors.print(f"physics failed: {error}")
        return 1
    except KeyboardInterrupt:
        errors.print("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
