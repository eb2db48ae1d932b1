"""The options of ``diffsim-rpg optimize`` that do not depend on the task or the algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rpg.cli.output import OutputOptions
from rpg.settings_checks import SettingError, check_int


@dataclass(frozen=True)
class RunOptions(OutputOptions):
    """The run."""

    algo: str | None = None
    """The algorithm: rpg (if not given), its baselines gaussian and reinforce (the same policy without a latent), or any
    other: see `diffsim-rpg algorithms`."""
    out: Path | None = None
    """Folder of the run. If not given: a new one, runs/TASK/ALGO-seedSEED; with --resume the one that runs/latest points to."""
    resume: bool = False
    """Continue the run in the folder, with its settings; --iterations may be more, to extend it."""
    branch_from: Path | None = None
    """Begin where this run stands (a folder, or one of its checkpoints), with its settings but for those given."""
    restart_schedules: bool = False
    """Begin the schedules of a branch anew, over the iterations that are left."""
    num_envs: int = 32
    """Episodes simulated side by side."""
    evaluate_every: int | None = None
    """Evaluate every latent on held-out first states every so many iterations; best.pt is then the best of these
    evaluations."""
    checkpoint_every: int = 10
    """Save a checkpoint every so many iterations, beside one a minute."""
    on_nan: str = "stop"
    """"stop", or "retry:N" to try an iteration that is not finite again, up to N times, with other seeds and half the step."""
    threads: int | None = None
    """Threads of the simulator (DIFFSIM_NUM_THREADS); torch, whose tensors are small here, takes one."""
    video: bool = True
    """Whether to render the video."""
    video_size: tuple[int, int] | None = None
    """Width and height of the video in pixels; the task's own if not given."""
    camera: tuple[float, ...] | None = None
    """The video's camera: x y z of the eye, x y z of what is in the middle of the picture, m, and perhaps the vertical opening
    angle in degrees; the task's own if not given."""
    wandb: str | None = None
    """Log the run to this project of Weights & Biases (pip install 'diffsim-rpg[wandb]'), too."""

    def check(self) -> None:
        """Raise SettingError if options are wrong or do not go together."""
        if self.resume and self.branch_from is not None:
            raise SettingError("--resume was given with --branch-from; allowed is one of them")
        if self.restart_schedules and self.branch_from is None:
            raise SettingError("--restart-schedules was given without --branch-from; allowed with it")
        for name in ("threads", "evaluate_every", "checkpoint_every"):
            if getattr(self, name) is not None:
                try:
                    check_int("--" + name.replace("_", "-"), getattr(self, name), at_least=1)
                except ValueError as error:
                    raise SettingError(str(error)) from None
        self.retries()
        camera_of(self.camera)
        checked_size(self.video_size)

    def retries(self) -> int:
        """How often an iteration that is not finite is tried again."""
        kind, _, count = self.on_nan.partition(":")
        if kind == "retry" and count.isdecimal():
            return int(count)
        if self.on_nan != "stop":
            raise SettingError(f"--on-nan was given '{self.on_nan}'; allowed are stop and retry:N")
        return 0


def camera_of(numbers: tuple[float, ...] | None) -> tuple | None:
    """(eye, target) or (eye, target, opening angle), which environments with a video understand; None if none was given.

    Raises:
        SettingError: there are not six or seven numbers.
    """
    if numbers is None:
        return None
    if len(numbers) not in (6, 7):
        given = " ".join(map(str, numbers))
        raise SettingError(f"--camera was given {given}; allowed are 6 or 7 numbers: eye, target, and opening angle in degrees")
    return (tuple(numbers[:3]), tuple(numbers[3:6]), *numbers[6:])


def checked_size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """The size itself. Raises SettingError if it is none."""
    if size is not None and min(size) < 16:
        raise SettingError(f"--video-size was given {size[0]} {size[1]}; allowed are whole numbers >= 16")
    return size
