"""Entry point: sub-commands, and the one place that turns a user's mistake into one line and exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import tyro
from rich.console import Console

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the process's exit code (0 done, 1 physics failed, 2 wrong input, 130 interrupted)."""
    # Taichi reads these when it is imported; a progress bar and its banner do not share a line
    os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")
    from diffsim import InputError, SimulationError
    from rpg.checkpoint import CheckpointError, CheckpointMismatch
    from rpg.cli.optimize import optimize
    from rpg.cli.render import render
    from rpg.cli.tasks import list_algorithms, list_tasks
    from rpg.protocol import ProtocolError
    from rpg.validation import SettingError

    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    mistakes = (
        InputError,
        CheckpointError,
        CheckpointMismatch,
        ProtocolError,
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
    except SimulationError as error:
        errors.print(f"physics failed: {error}")
        return 1
    except FloatingPointError as error:
        errors.print(f"optimisation failed: {error}")
        return 1
    except KeyboardInterrupt:
        errors.print("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
