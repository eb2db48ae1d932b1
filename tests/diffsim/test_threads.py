"""More threads than cores, fewer than asked for, the wrong thread, and a fork: an answer in each case, and the same one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffsim.soft.kernels.teams import Teams

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
HANGS = 120  # s

ROLLED = """
import os, sys
import torch
import diffsim as ds
from tests.diffsim.scenes import contact_scene

def rolled():
    sim = ds.Simulator(contact_scene(), dt=2e-3, substeps=10, dtype=torch.float64)
    action = torch.full((3, 1, sim.action_dim), 0.3, dtype=torch.float64, requires_grad=True)
    end = sim.rollout(sim.reset(), action)[-1]
    end.x.square().sum().backward()
    return torch.cat([end.x.detach().flatten(), action.grad.flatten()])
"""


def printed(code: str, **variables: str) -> tuple[list[torch.Tensor], str]:
    """The rows of numbers that the code prints, in a process of its own, and what it warned of."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", ROLLED + code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=HANGS, check=True)
    rows = [
        torch.tensor([float(word) for word in line.split()], dtype=torch.float64) for line in done.stdout.splitlines() if line
    ]
    return rows, done.stderr


def close(ours: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=0.0, atol=1e-12 * float(expected.abs().max()))


def test_more_threads_than_cores_are_as_many_as_cores():
    code = "for _ in range(2): print(*rolled().tolist())"
    (one, _), silence = printed(code, DIFFSIM_NUM_THREADS="1")
    (many, again), warning = printed(code, DIFFSIM_NUM_THREADS=str(len(os.sched_getaffinity(0)) + 1))
    close(many, one)
    assert torch.equal(many, again)
    assert "DIFFSIM_NUM_THREADS" not in silence
    assert warning.count("DIFFSIM_NUM_THREADS asks for") == 1
    assert f"may use {len(os.sched_getaffinity(0))} cores" in warning


def test_a_team_is_no_larger_than_what_the_compiler_was_started_with():
    code = (
        "os.environ['DIFFSIM_NUM_THREADS'] = '1'\n"
        "print(*rolled().tolist())\n"
        "import diffsim.runtime\n"
        "diffsim.runtime.num_threads = lambda: 3\n"  # whatever the number of cores
        "print(*rolled().tolist())\n"
    )
    (one, three), _ = printed(code)
    close(three, one)
    assert not torch.equal(three, one)  # three parts were summed


def test_teams_need_as_many_threads_as_lanes():
    for threads, expected in ((1, 1), (2, 1), (3, 3), (4, 3)):
        with Teams(3, threads).at_work("forward", 3) as (_lanes, workers):
            assert workers == expected


def test_steps_and_backward_may_be_on_any_thread_and_at_the_same_time():
    code = (
        "import threading\n"
        "rows = []\n"
        "def work(): rows.append(rolled().tolist())\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"  # the first simulator, too
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "for row in (*rows, rolled().tolist()): print(*row)\n"
    )
    results, _ = printed(code, DIFFSIM_NUM_THREADS="1")
    assert len(results) == 4
    for result in results[1:]:
        assert torch.equal(result, results[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_is_told_what_to_do():
    code = (
        "sim = ds.Simulator(contact_scene(), dt=2e-3, substeps=2, dtype=torch.float64)\n"
        "rolled()\n"
        "if os.fork() == 0:\n"
        "    import faulthandler\n"
        "    faulthandler.dump_traceback_later(60, exit=True)\n"  # leave nothing behind that hangs
        "    for work in (rolled, lambda: sim.step(sim.reset(), torch.zeros(1, sim.action_dim, dtype=torch.float64))):\n"
        "        try:\n"
        "            work()\n"
        "        except ds.InputError as error:\n"
        "            print(error, file=sys.stderr, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print(*rolled().tolist())\n"
    )
    (result,), message = printed(code)
    assert message.count("get_context('spawn')") == 2  # a new simulator, and a step of an old one
    assert torch.isfinite(result).all()
