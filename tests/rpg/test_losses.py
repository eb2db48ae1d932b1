"""What is left of a run when its process ends, and that two processes do not write to one folder."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import rpg
from rpg import RPGConfig, Trainer, load_checkpoint
from rpg.environments.wall import PointMassWall
from rpg.training import trainer as trainer_module
from rpg.training.run_lock import LOCK_NAME, RunLock, RunLockedError
from rpg.training.termination import shielded, terminable

ROOT = Path(__file__).parents[2]
ENV = PointMassWall(num_envs=4, horizon=3)
CONFIG = RPGConfig(num_latents=2, iterations=4, policy="table", posterior_hidden=(4,))
LONG = replace(CONFIG, iterations=10**6)
IDENTITY = {"task": "Tiny", "num_envs": "4"}

TRAIN = """
import sys
from pathlib import Path
from rpg import RPGConfig, Trainer
from rpg.environments.wall import PointMassWall
config = RPGConfig(num_latents=2, iterations=10**6, policy="table", posterior_hidden=(4,))
identity = {"task": "Tiny", "num_envs": "4"}
options = {"run_dir": Path(sys.argv[1]), "checkpoint_interval": 10**6, "identity": identity}
trainer = Trainer(PointMassWall(num_envs=4, horizon=3), config, **options)
def on_iteration(row):
    if row.iteration == 3:
        print("ready", flush=True)
trainer.train(on_iteration)
"""


@pytest.fixture
def running(tmp_path):
    """A process that trains in `tmp_path` without end, after its fourth iteration."""
    process = subprocess.Popen([sys.executable, "-c", TRAIN, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_sigterm_leaves_a_usable_checkpoint_and_exit_code_143(tmp_path, running):
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=60) == 143
    done = load_checkpoint(tmp_path / "checkpoint.pt").iteration
    assert done >= 4
    resumed = Trainer(ENV, LONG, run_dir=tmp_path, resume=True, identity=IDENTITY)
    assert len(resumed.train(lambda row: row.iteration == done + 1).history) == done + 2


def test_the_programs_own_handler_of_sigterm_is_kept(tmp_path):
    def own(number, frame):
        raise ZeroDivisionError

    before = signal.signal(signal.SIGTERM, own)
    try:
        trainer = Trainer(ENV, CONFIG, run_dir=tmp_path)
        with pytest.raises(ZeroDivisionError):
            trainer.train(lambda row: os.kill(os.getpid(), signal.SIGTERM) if row.iteration == 1 else None)
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
    assert load_checkpoint(tmp_path / "checkpoint.pt").iteration == 2


def test_sigterm_is_an_exception_of_its_own(tmp_path):
    trainer = Trainer(ENV, CONFIG, run_dir=tmp_path)
    with pytest.raises(rpg.Terminated):
        trainer.train(lambda row: os.kill(os.getpid(), signal.SIGTERM) if row.iteration == 1 else None)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert len(trainer.train().history) == 4


def test_a_second_process_gets_one_clear_error(tmp_path, running):
    again = {"run_dir": tmp_path, "resume": True, "identity": IDENTITY}  # the first iteration is saved
    with pytest.raises(RunLockedError, match=f"{tmp_path} is in use by process {running.pid}") as error:
        Trainer(ENV, LONG, **again).train()
    assert "\n" not in str(error.value)
    running.kill()  # without a chance to clean up
    running.wait()
    assert (tmp_path / LOCK_NAME).exists()
    assert len(Trainer(ENV, LONG, **again).train(lambda row: row.iteration == 3).history) == 4


def test_the_command_line_names_the_other_process(tmp_path, running, capsys):
    from rpg.cli.main import main

    for resume in ((), ("--resume",)):
        code = main(["optimize", f"{__file__}:Tiny", "--out", str(tmp_path), *resume])
        lines = capsys.readouterr().err.strip().splitlines()
        assert code == 2
        assert len(lines) == 1
        assert f"{tmp_path} is in use by process {running.pid}" in lines[0]


class Tiny(PointMassWall):
    """For the command line."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs=num_envs, horizon=3)


def test_the_command_line_ends_with_143(tmp_path):
    command = [sys.executable, "-m", "rpg.cli.main", "optimize", f"{__file__}:Tiny", "--out", str(tmp_path / "run")]
    command += ["--num-envs", "4", "--num-latents", "2", "--iterations", "1000000", "--policy", "table"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics, until = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 120
    while (
        process.poll() is None and time.monotonic() < until and not (metrics.exists() and metrics.read_text().count("\n") > 1)
    ):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "terminated after iteration" in out
    assert "--resume" in out
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").iteration >= 1


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGTERM, rpg.Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_waits_for_the_end_of_a_shielded_block(number, kind):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job
        signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []

    def work():
        with terminable():
            with shielded():
                with shielded():
                    os.kill(os.getpid(), number)
                    done.append("inner")
                done.append("outer")
            done.append("after")

    with pytest.raises(kind):
        work()
    assert done == ["inner", "outer"]
    with terminable(), shielded():
        pass  # nothing was left behind


def test_two_trainers_of_one_process(tmp_path):
    first = Trainer(ENV, CONFIG, run_dir=tmp_path)
    second = Trainer(ENV, CONFIG, run_dir=tmp_path)
    first.train(lambda row: row.iteration == 1)
    with pytest.raises(FileExistsError, match="was written by another process"):
        second.train()
    resumed = Trainer(ENV, CONFIG, run_dir=tmp_path, resume=True)
    with RunLock(tmp_path), pytest.raises(RunLockedError, match="in use by another trainer of this process"):
        resumed.train()
    with resumed.lock:  # whoever writes to the folder afterwards
        assert len(resumed.train().history) == 4


def test_a_checkpoint_is_written_every_so_many_seconds(tmp_path, monkeypatch):
    """By a clock that ticks 25 s an iteration: at the third iteration a minute is over."""
    clock, saved = [0.0], []

    class Clock:
        perf_counter = staticmethod(time.perf_counter)

        @staticmethod
        def monotonic() -> float:
            return clock[0]

    monkeypatch.setattr(trainer_module, "time", Clock)
    trainer = Trainer(ENV, replace(CONFIG, iterations=7), run_dir=tmp_path, checkpoint_interval=1000)

    def on_iteration(row):
        clock[0] += 25.0
        path = tmp_path / "checkpoint.pt"
        saved.append(load_checkpoint(path).iteration if path.exists() else 0)

    trainer.train(on_iteration)
    assert saved == [1, 1, 1, 4, 4, 4, 7]
