"""How fast is the rigid solver? CPU time against MuJoCo's C step, one core each, in interleaved runs with equal dt.

    python -m benchmarks.rigid_speed --quick --json      the three ratios that matter
    python -m benchmarks.rigid_speed --table FILE        everything: f32, batches, gradients, compilation, Newton

The problems (`benchmarks/rigid/problems.py`): a seven-joint arm with damping and armature under torques, 10,000 substeps in one
launch; a box that slides for a second (500 substeps) under a constant force, or before a ball on a rail, twenty of them in one
launch. All run on one thread, environments one after the other. MuJoCo has its defaults and makes all substeps under the same
controls in one call of mj_step; results are compared before anything is timed. A ratio is the median over rounds of MuJoCo's
CPU time over ours.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["DIFFSIM_NUM_THREADS"] = "1"

import mujoco
import numpy as np
import torch
import tyro

from benchmarks.rigid.ours import SUBSTEPS, Run
from benchmarks.rigid.problems import BOXES, Arm, Box
from benchmarks.soft import whole_tasks

ARM_STEPS = 500
BOX_STEPS = 25  # a second: longer, and MuJoCo's boxes hop and turn
BOX_ENVS = 20


@dataclass(frozen=True)
class Options:
    """What to measure."""

    quick: bool = False
    """Only f64 and one environment against MuJoCo, and backward over forward."""
    json: bool = False
    """Print one JSON object on the last line."""
    rounds: int = 21
    """Interleaved runs of each."""
    whole: bool = True
    """With a whole task, and how long it compiles, in the JSON object."""
    newton: str | None = None
    """Python of an environment with newton (and so warp), to run `benchmarks/rigid/newton_peer.py` with."""
    table: Path | None = None
    """Markdown file for the tables."""


class MuJoCo:
    """The same problem in MuJoCo."""

    def __init__(self, problem: Arm | Box, steps: int):
        self._model = mujoco.MjModel.from_xml_string(problem.mjcf)
        self.data = mujoco.MjData(self._model)
        self._start: tuple[np.ndarray, np.ndarray] | None = None
        self._actions = np.zeros((steps, self._model.nu))
        self._constant = not isinstance(problem, Arm)
        if isinstance(problem, Arm):
            self._start, self._actions = problem.start, problem.torques(steps)
        else:
            self._actions[:] = problem.speed

    def reset(self) -> None:
        mujoco.mj_resetData(self._model, self.data)
        if self._start is not None:
            self.data.qpos[:], self.data.qvel[:] = self._start

    def rollout(self) -> float:
        """CPU seconds."""
        self.reset()
        start = time.process_time()
        if self._constant:
            self.data.ctrl[:] = self._actions[0]
            mujoco.mj_step(self._model, self.data, len(self._actions) * SUBSTEPS)
        else:
            for action in self._actions:
                self.data.ctrl[:] = action
                mujoco.mj_step(self._model, self.data, SUBSTEPS)
        return time.process_time() - start

    def mean_contacts(self) -> float:
        self.reset()
        found = []
        for action in self._actions:
            self.data.ctrl[:] = action
            for _ in range(SUBSTEPS):
                mujoco.mj_step(self._model, self.data)
                found.append(self.data.ncon)
        return statistics.fmean(found)


def agree(problem: Arm | Box, run: Run, peer: MuJoCo) -> float:
    """How far the results are apart: the arm's coordinates after 10 control steps (it is chaotic), relative to their size,
    under the integrator that is MuJoCo's; the box's distance, relative to MuJoCo's."""
    peer.reset()
    if isinstance(problem, Arm):
        run = Run(problem, steps=len(run.actions), num_envs=len(run.state.q), dtype=run.simulator.dtype, integrator="euler")
    states = run.rollout()
    if isinstance(problem, Arm):
        for t in range(10):
            peer.data.ctrl[:] = problem.torques(len(run.actions))[t]
            mujoco.mj_step(peer._model, peer.data, SUBSTEPS)
        apart = float(np.abs(states[10].q[0].numpy() - peer.data.qpos).max())
    else:
        peer.rollout()
        apart = abs(float(states[-1].q[0, 0]) / peer.data.qpos[0] - 1.0)
    allowed = 1e-9 if isinstance(problem, Arm) else 0.1
    if run.simulator.dtype == torch.float64 and not apart < allowed:
        raise SystemExit(f"diffsim and MuJoCo disagree: {apart:.1e}, allowed {allowed:g}")
    return apart


def steps_of(problem: Arm | Box) -> int:
    return ARM_STEPS if isinstance(problem, Arm) else BOX_STEPS


def cpu_seconds(function: Callable[[], Any]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def against_mujoco(name: str, problem: Arm | Box, rounds: int, *, dtype: torch.dtype, num_envs: int) -> dict[str, Any]:
    """Ours in one launch; MuJoCo makes one environment's run after the other, at most BOX_ENVS of them."""
    steps, peers = steps_of(problem), min(num_envs, BOX_ENVS)
    run, peer = Run(problem, steps=steps, num_envs=num_envs, dtype=dtype), MuJoCo(problem, steps)
    apart = agree(problem, run, peer)
    run.forward()  # the arm's results were compared under another integrator, with kernels of its own
    ratios, own, theirs = [], [], []
    for _ in range(rounds):
        own.append(cpu_seconds(run.forward) / run.substeps)
        theirs.append(sum(peer.rollout() for _ in range(peers)) / (steps * SUBSTEPS * peers))
        ratios.append(theirs[-1] / own[-1])
    return {
        "problem": name,
        "precision": "f64" if dtype == torch.float64 else "f32",
        "num_envs": num_envs,
        "ratio": statistics.median(ratios),
        "worst": min(ratios),
        "ours_us": statistics.median(own) * 1e6,
        "peer_us": statistics.median(theirs) * 1e6,
        "apart": apart,
        "contacts": 0.0 if isinstance(problem, Arm) else peer.mean_contacts(),
    }


def gradients(name: str, problem: Arm | Box, rounds: int, *, dtype: torch.dtype) -> dict[str, Any]:
    run = Run(problem, steps=steps_of(problem), num_envs=1 if isinstance(problem, Arm) else BOX_ENVS, dtype=dtype)
    run.forward_backward()
    times = [run.forward_backward() for _ in range(rounds)]
    return {
        "problem": name,
        "precision": "f64" if dtype == torch.float64 else "f32",
        "ratio": statistics.median(backward / forward for forward, backward in times),
        "forward_us": statistics.median(forward for forward, _ in times) / run.substeps * 1e6,
        "backward_us": statistics.median(backward for _, backward in times) / run.substeps * 1e6,
    }


def compile_times() -> dict[str, dict[str, float]]:
    """Seconds to the first rollout and from there to the first gradient, with an empty cache and with what it left there."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TI_OFFLINE_CACHE_FILE_PATH": folder}
        command = [sys.executable, "-m", "benchmarks.rigid.ours"]
        runs = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(2)]
    cold, cached = (json.loads(done.stdout.splitlines()[-1]) for done in runs)
    return {"cold": cold, "cached": cached}


def newton(python: str) -> dict[str, Any]:
    command = [python, "-W", "ignore", "-m", "benchmarks.rigid.newton_peer"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"newton's run failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    rounds = min(options.rounds, 11) if options.quick else options.rounds
    problems: dict[str, Arm | Box] = {"arm": Arm(), **BOXES}
    rows = []
    for name, problem in problems.items():
        batches = [1, 8, 64] if isinstance(problem, Arm) else [BOX_ENVS, 1]
        kinds = itertools.product((torch.float64, torch.float32), batches)
        for dtype, num_envs in [next(kinds)] if options.quick else kinds:
            many = isinstance(problem, Arm) and num_envs > 1  # launches of 80,000 substeps and more
            row = against_mujoco(name, problem, max(rounds // num_envs, 3) if many else rounds, dtype=dtype, num_envs=num_envs)
            rows.append(row)
            print(
                f"{name:20} {row['precision']}, {num_envs:2} environments: {row['ratio']:.2f}x MuJoCo "
                f"(worst {row['worst']:.2f}x; {row['ours_us']:.2f} and {row['peer_us']:.2f} us a substep; "
                f"apart {row['apart']:.1e}; MuJoCo's contacts {row['contacts']:.1f})",
                flush=True,
            )
    passes = []
    for dtype in (torch.float64,) if options.quick else (torch.float64, torch.float32):
        for name, problem in problems.items():
            row = gradients(name, problem, rounds, dtype=dtype)
            passes.append(row)
            print(
                f"{name:20} {row['precision']}: backward over forward {row['ratio']:.2f} "
                f"({row['backward_us']:.2f} and {row['forward_us']:.2f} us a substep)",
                flush=True,
            )
    compiled = {} if options.quick else compile_times()
    for name, seconds in compiled.items():
        print(f"{name}: rollout after {seconds['forward']:.1f} s, gradient after {seconds['backward']:.1f} s more", flush=True)
    peer = newton(options.newton) if options.newton else {}
    if peer:
        print("newton:", peer, flush=True)
    if options.table is not None:
        options.table.write_text(tables(rows, passes))
    if options.json:
        headline = {"arm": 1, "box before a pusher": BOX_ENVS}
        found = {
            row["problem"]: row["ratio"]
            for row in rows
            if row["precision"] == "f64" and row["num_envs"] == headline.get(row["problem"])
        }
        worst = max(row["ratio"] for row in passes if row["precision"] == "f64")
        result = {"arm_vs_mujoco": found["arm"], "box_vs_mujoco": found["box before a pusher"], "backward_over_forward": worst}
        if options.whole:
            whole = whole_tasks.measured(rollouts=("rollout_three_way_push",), share=False, cold=("rigid",))
            result |= {"rollout_three_way_push": whole["rollout_three_way_push"], "compile_cold_s": whole["rigid"]["cold"]}
        print(json.dumps({name: round(value, 2) for name, value in result.items()}))


def tables(rows: list[dict[str, Any]], passes: list[dict[str, Any]]) -> str:
    """The tables of docs/rigid_speed.md."""
    lines = [
        "| problem | precision | environments | ratio | worst round | ours, us | MuJoCo, us | MuJoCo's contacts | apart |",
        "|--|--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['problem']} | {row['precision']} | {row['num_envs']} | {row['ratio']:.2f} | {row['worst']:.2f} | "
            f"{row['ours_us']:.2f} | {row['peer_us']:.2f} | {row['contacts']:.1f} | {row['apart']:.0e} |"
        )
    lines += ["", "| problem | precision | backward over forward | forward, us | backward, us |", "|--|--|--:|--:|--:|"]
    for row in passes:
        times = f"{row['forward_us']:.2f} | {row['backward_us']:.2f}"
        lines.append(f"| {row['problem']} | {row['precision']} | {row['ratio']:.2f} | {times} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
