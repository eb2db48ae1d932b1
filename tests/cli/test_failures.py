"""What goes wrong during a run: a full disk, a video that fails, signals. One line, and nothing lost."""

import os
import resource
import signal
import time
from pathlib import Path

import pytest

from rpg import Trainer, open_run
from rpg.training.checkpoint import load_checkpoint
from rpg.training.metrics import METRICS_NAME, read_metrics
from rpg.training.whole_files import whole_file
from tests.cli.command_line import SHOWN, SMALL, WALL, assert_refused, json_line, optimize, process, result_of, run

FULL, LIMIT = Path("/dev/full"), 80_000
SHORT = (*SMALL, "--iterations", 2, "--quiet")


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_whole_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "folder" / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("old")
    for error in (KeyboardInterrupt, OSError(28, "No space left on device"), RuntimeError("other")):

        def write(error: BaseException | type[BaseException] = error) -> None:
            with whole_file(path) as partial:
                partial.write_text("new")
                raise error

        with pytest.raises(error if isinstance(error, type) else type(error)) as caught:
            write()
        assert files_of(path.parent) == {"a.txt"}
        assert path.read_text() == "old"
        if isinstance(caught.value, OSError):
            assert caught.value.filename == str(path)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(tmp_path, capsys):
    out = tmp_path / "run"
    assert optimize(WALL, *SHORT, "--out", out) == 0
    before = (out / "checkpoint.pt").read_bytes()
    (out / "checkpoint.pt.tmp").symlink_to(FULL)  # where a checkpoint is written first
    code = optimize(WALL, "--resume", "--iterations", 4, "--quiet", "--out", out)
    assert_refused(capsys, code, "No space left on device", out / "checkpoint.pt")
    assert not [name for name in files_of(out) if name.endswith(".tmp")]
    assert (out / "checkpoint.pt").read_bytes() == before
    assert optimize(WALL, "--resume", "--iterations", 4, "--quiet", "--out", out) == 0
    assert len(read_metrics(out)) == 4


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("[host_memory_pool.cpp:allocate_raw_memory@62] Virtual memory allocation (1073741824 B) failed."),
    ],
    ids=["Python", "torch", "the kernels' compiler"],
)
def test_no_memory_is_one_line(tmp_path, capsys, monkeypatch, error):
    def refuse(self, update=None):
        raise error

    monkeypatch.setattr(Trainer, "train", refuse)
    code = optimize(WALL, *SHORT, "--out", tmp_path / "run")
    assert_refused(capsys, code, "not enough memory", "--num-envs")


@pytest.mark.slow
def test_a_disk_that_fills_during_a_run_leaves_the_last_whole_iteration(tmp_path):
    out = tmp_path / "run"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))  # bytes of a file, which metrics.jsonl reaches

    small = ("--num-envs", 2, "--num-latents", 2, "--policy", "table", "--posterior-hidden", 4)
    options = ("--iterations", 100_000, "--no-video", "--quiet", "--out", out)
    running = process("optimize", WALL, *small, *options, preexec_fn=limit)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 2, errors
    lines = [line for line in errors.strip().splitlines() if "Warning" not in line]
    assert len(lines) == 1, errors
    assert lines[0].startswith(f"error: File too large: '{out}")
    assert not [name for name in files_of(out) if name.endswith(".tmp")]
    done = load_checkpoint(out / "checkpoint.pt").iteration
    assert done > 10
    assert len(read_metrics(out)) >= done
    assert (out / METRICS_NAME).stat().st_size <= LIMIT
    assert open_run(out).evaluate().episodes == 2
    assert result_of(out)["status"] == "failed"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    assert_refused(capsys, optimize(WALL, "--quiet", "--out", file / "run"), file / "run", "cannot be written", "--out")
    assert_refused(capsys, optimize(WALL, "--quiet", "--out", file), file, "cannot be written")
    assert_refused(capsys, run("render", tmp_path / "nothing"), "holds no run")
    assert_refused(capsys, run("evaluate", file), "holds no run")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "checkpoint.pt").write_bytes(b"noise")
    assert_refused(capsys, run("evaluate", broken), "checkpoint.pt", "no readable checkpoint")
    assert_refused(capsys, optimize(WALL, "--resume", "--quiet", "--out", broken), "checkpoint.pt")
    assert files_of(broken) == {"checkpoint.pt"}


def test_rendering_is_tried_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SHOWN_WALL", "check")
    code = optimize(SHOWN, *SHORT, "--out", tmp_path / "run")
    assert_refused(
        capsys, code, "rendering fails, so nothing was trained", "no font for captions", "small_tasks.py, line", "--no-video"
    )
    assert not (tmp_path / "run").exists()
    assert optimize(SHOWN, *SHORT, "--no-video", "--out", tmp_path / "run") == 0
    fixed, options = WALL.replace(":Wall", ":FixedCameraWall"), ("--out", tmp_path / "fixed")
    camera = ("--camera", 1, 2, 3, 0, 0, 0)
    assert_refused(capsys, optimize(fixed, *SHORT, *camera, *options), "FixedCameraWall takes no camera")
    assert_refused(capsys, optimize(WALL, *SHORT, *camera, *options), "Wall has no method write_video")
    assert optimize(fixed, *SHORT, *options) == 0
    assert (tmp_path / "fixed" / "modes.mp4").read_text() == "video"


def test_a_video_that_fails_keeps_the_run_and_says_so(tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setenv("SHOWN_WALL", "video")
    assert optimize(SHOWN, *SMALL, "--iterations", 2, "--json", "--out", out) == 3
    captured = capsys.readouterr()
    assert "the run is complete, but its video failed: RuntimeError: velocity must be (8, 3)" in captured.out
    assert f"diffsim-rpg render {out}" in captured.out
    assert captured.err == ""
    assert '"video_error": "RuntimeError: velocity must be (8, 3)' in captured.out.splitlines()[-1]
    assert result_of(out)["status"] == "done"
    assert {"checkpoint.pt", "result.json", "plot.png"} <= files_of(out)
    assert run("render", out) == 3
    monkeypatch.delenv("SHOWN_WALL")
    capsys.readouterr()
    assert run("render", out, "--json") == 0
    assert json_line(capsys) == {"run": str(out), "video": str(out / "modes.mp4"), "video_error": None}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
def test_a_signal_during_training_keeps_the_run(tmp_path, number, code, word):
    out = tmp_path / "run"
    options = ("--iterations", 1_000_000, "--policy", "table", "--no-video", "--out", out)
    running = process("optimize", WALL, *SMALL, *options, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    until = time.monotonic() + 120
    while running.poll() is None and time.monotonic() < until and (not out.exists() or len(read_metrics(out)) < 2):
        time.sleep(0.1)
    running.send_signal(number)
    printed, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (code, "")
    assert f"{word} after iteration" in printed
    assert f"--resume --out {out}" in printed
    assert result_of(out)["status"] == word
    assert load_checkpoint(out / "checkpoint.pt").iteration == len(read_metrics(out)) >= 2
    assert not [name for name in files_of(out) if name.endswith(".tmp")]


def test_a_signal_while_the_environment_is_built_leaves_nothing(tmp_path, capsys, monkeypatch):
    def interrupting(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "__init__", interrupting)
    assert optimize(WALL, *SHORT, "--out", tmp_path / "run") == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not (tmp_path / "run").exists()


def test_the_first_iteration_is_saved_and_further_ones_as_often_as_asked(tmp_path, monkeypatch):
    saved: list[int] = []
    original = Trainer._save

    def save(self: Trainer) -> None:
        saved.append(self.iteration)
        original(self)

    monkeypatch.setattr(Trainer, "_save", save)
    assert optimize(WALL, *SMALL, "--iterations", 7, "--checkpoint-every", 3, "--quiet", "--out", tmp_path / "run") == 0
    assert saved == [1, 3, 6, 7]
