"""The folders of runs: a new one for each, and a pointer to the latest."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path

from rpg.runs.run_result import RESULT_NAME
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import CHECKPOINT_NAME
from rpg.training.metrics import METRICS_NAME, TENSORBOARD
from rpg.training.run_lock import LOCK_NAME

RUNS = Path("runs")
"""Where new folders are made, from the current one."""
LATEST = "latest"
"""A symbolic link in `RUNS` to the last of them."""


def new_run_folder(task: str, algorithm: str, seed: int) -> Path:
    """A new folder RUNS/TASK/ALGORITHM-seedSEED, with "-2", "-3", ... behind it if there are such. No other process gets the
    same one, and `RUNS`/latest then points to it.

    Raises:
        SettingError: it cannot be made.
    """
    parent = RUNS / re.sub(r"[^\w.-]+", "-", task)
    for number in count(1):
        folder = parent / (f"{algorithm}-seed{seed}" + ("" if number == 1 else f"-{number}"))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not parent.is_dir():
                raise SettingError(f"'{parent}' is no folder; choose another --out") from None
        except OSError as error:
            raise SettingError(f"folder '{folder}' cannot be made: {error.strerror}; choose another --out") from error
        else:
            _point_latest(folder)
            return folder
    raise AssertionError  # count has no end


def latest_run() -> Path:
    """The folder that `RUNS`/latest points to.

    Raises:
        SettingError: there is none.
    """
    link = RUNS / LATEST
    if not link.is_dir():
        raise SettingError(f"there is no '{link}', which points to the last run; give the folder by --out")
    return RUNS / os.readlink(link) if link.is_symlink() else link


def check_writable(folder: Path) -> None:
    """Make `folder` if it does not exist.

    Raises:
        SettingError: it cannot be made or written.
    """
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingError(f"output folder '{folder}' cannot be written: {error.strerror}; choose another --out") from error


def discard_unless_begun(folder: Path) -> None:
    """Remove what a run wrote if it did not come to a checkpoint, and the folder if nothing else is in it."""
    if (folder / CHECKPOINT_NAME).exists():
        return
    shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
    with suppress(OSError):
        for name in (RESULT_NAME, METRICS_NAME, LOCK_NAME):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
        link = RUNS / LATEST
        if link.is_symlink() and not link.exists():
            link.unlink()


def _point_latest(folder: Path) -> None:
    link, fresh = RUNS / LATEST, RUNS / f".{LATEST}.{os.getpid()}"
    if link.exists() and not link.is_symlink():
        return  # a run of the user's
    with suppress(OSError):  # where there are no symbolic links there is no pointer
        fresh.symlink_to(folder.relative_to(RUNS), target_is_directory=True)
        os.replace(fresh, link)
