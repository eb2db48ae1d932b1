"""One run of a sweep: its folder, its process, how far it is."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpg.settings_checks import SettingError

LOG_NAME = "log.txt"


@dataclass(frozen=True)
class SweptRun:
    """One of the runs."""

    name: str
    """Of its folder, below the sweep's."""
    folder: Path
    arguments: tuple[str, ...]
    """Of optimize, but for the folder."""
    config: dict[str, Any]
    """Its settings, as in result.json."""
    identity: dict[str, str]

    @property
    def log(self) -> Path:
        """What its process printed."""
        return self.folder / LOG_NAME

    def command(self, threads: int, *, resumes: bool) -> list[str]:
        """The command of its process."""
        extra = ["--out", str(self.folder), "--threads", str(threads), "--quiet", "--json", *(["--resume"] if resumes else [])]
        return [sys.executable, "-m", "rpg.cli.main", "optimize", *self.arguments, *extra]

    def is_begun(self) -> bool:
        """Whether there is something to go on from."""
        return has_checkpoint(self.folder)

    def stored(self) -> dict[str, Any]:
        """Its result so far; empty if it has not begun.

        Raises:
            SettingError: the folder holds a run with other settings.
        """
        from rpg.runs.run_result import read_result

        result = read_result(self.folder)
        for name, wanted in {**self.config, **self.identity}.items():
            found = result.get("config", {}).get(name, result.get(name))
            if result and name != "iterations" and found != wanted:
                raise SettingError(f"the run in '{self.folder}' has {name} {found}, this sweep {wanted}; choose another --out")
        return result

    def is_done(self) -> bool:
        """Whether all iterations of this sweep are done and evaluated."""
        result = self.stored()
        return result.get("status") == "done" and result["iterations"] >= self.config["iterations"]


def has_checkpoint(folder: Path) -> bool:
    """Whether a run can go on there."""
    from rpg.training.checkpoint import CHECKPOINT_NAME

    return (folder / CHECKPOINT_NAME).exists()


def ended_badly(code: int | None, log: Path) -> str:
    """Why a run ended, in one line: its exit code, if known, and the last line of its log."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    told = [line for line in lines if not line.startswith("{")]
    how = "ended" if code is None else f"exit code {code}"
    return f"{how}: {told[-1] if told else 'no message'} ({log})"
