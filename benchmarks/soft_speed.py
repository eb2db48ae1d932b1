"""How fast is the soft-body solver? CPU time against the textbook's implementation of the same physics, in interleaved runs.

    python -m benchmarks.soft_speed --quick --json                the ratios that matter, some 5 minutes with compiled kernels
    python -m benchmarks.soft_speed --table docs/soft_speed.md    f32 and f64, 3k and 10k particles, batches, Warp, memory

The problem (`benchmarks/soft/problem.py`): a von Mises plastic block on the ground in a 64^3 grid, pressed by two moving
capsules with friction. All implementations solve it equation for equation, and their results are compared before any is timed.
    ours      diffsim; it keeps its substeps for backward in a budget of memory, and recomputes what does not fit
    textbook  the design of PlasticineLab (`benchmarks/soft/textbook.py`)
    tuned     the same without atomics: serial loops, for one thread only
    warp      NVIDIA Warp on the CPU (`pip install warp-lang`; left out if it is not there)
    limit     the forward pass in f32 by hand in C++ (`benchmarks/soft/limit.cpp`; left out if there is no g++)
A ratio is the median over rounds of peer's time / ours, one run of each after the other in each round; of the limit, ours over
its.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.answering import AnsweringProcess
from benchmarks.processes import write_part
from benchmarks.soft import whole_tasks, worker
from benchmarks.soft.limit import compiler


@dataclass(frozen=True)
class Options:
    """What to measure."""

    quick: bool = False
    """Only f32 against the textbook, two threads, and memory at 1,000 substeps."""
    json: bool = False
    """Print one JSON object on the last line."""
    rounds: int = 7
    """Interleaved runs of each."""
    table: Path | None = None
    """Markdown file for the tables, between its marks if it has them."""


class Worker(AnsweringProcess):
    """A process that runs one implementation on command."""

    def __init__(self, implementation: str, *, particles: int, precision: str = "f32", num_envs: int = 1, threads: int = 1):
        command = [sys.executable, "-W", "ignore", "-m", worker.__name__, "--implementation", implementation]
        command += ["--particles", str(particles), "--precision", precision]
        command += ["--num-envs", str(num_envs), "--threads", str(threads)]
        super().__init__(command)
        self.name = implementation
        self.particle_substeps: int = self.ready["particle_substeps"]
        self.compile: float = self.ready["compile"]


def agree(ours: Worker, peer: Worker, precision: str, names: tuple[str, ...] = ("x", "gradient")) -> None:
    """Both must have the same final positions and gradient."""
    a, b = ours.ask("result"), peer.ask("result")
    tolerance = {"f32": 2e-3, "f64": 1e-4}[precision]  # the peers clamp 1 / (s_i^2 - s_j^2)
    for name in names:
        x, y = np.array(a[name]), np.array(b[name])
        scale = np.abs(y - y.mean(axis=0)).max() if name == "x" else np.abs(y).max()
        worst = np.abs(x - y).max() / scale
        if not worst < tolerance:
            raise SystemExit(f"{peer.name} and diffsim disagree in {name}: {worst:.1e} of its size, allowed {tolerance:g}")


def interleaved(workers: list[Worker], command: str, rounds: int, clock: str = "cpu") -> list[list[float]]:
    """Times (workers, rounds), s."""
    times: list[list[float]] = [[] for _ in workers]
    for _ in range(rounds):
        for times_of_one, each in zip(times, workers, strict=True):
            times_of_one.append(each.ask(command)[clock])
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def compare(particles: int, precision: str, peers: list[str], rounds: int) -> list[dict[str, Any]]:
    """Rows of {peer, command, particles, precision, ratio, worst, ours_ns, peer_ns}."""
    workers = [Worker(name, particles=particles, precision=precision) for name in ("ours", *peers)]
    for peer in workers[1:]:
        agree(workers[0], peer, precision)
    rows = []
    for command in ("forward", "forward_backward"):
        times = interleaved(workers, command, rounds)
        unit = 1e9 / workers[0].particle_substeps
        for peer, spent in zip(workers[1:], times[1:], strict=True):
            rows.append(
                {
                    "peer": peer.name,
                    "command": command,
                    "particles": particles,
                    "precision": precision,
                    "ratio": ratio(spent, times[0]),
                    "worst": min(a / b for a, b in zip(spent, times[0], strict=True)),
                    "ours_ns": statistics.median(times[0]) * unit,
                    "peer_ns": statistics.median(spent) * unit,
                }
            )
    for each in workers:
        each.close()
    return rows


def limits(rounds: int) -> dict[int, dict[str, float]]:
    """Ours over the limit, forward in f32, and ns a particle and substep of both, by particles; nothing without a compiler."""
    found: dict[int, dict[str, float]] = {}
    if compiler() is None:
        print("limit: not measured, there is no g++ on this machine", flush=True)
        return found
    for particles in (10_000, 3_000):
        workers = [Worker(name, particles=particles) for name in ("ours", "limit")]
        agree(workers[0], workers[1], "f32", names=("x",))
        ours, limit = interleaved(workers, "forward", rounds)
        unit = 1e9 / workers[0].particle_substeps
        found[particles] = {
            "ratio": ratio(ours, limit),
            "ours_ns": statistics.median(ours) * unit,
            "limit_ns": statistics.median(limit) * unit,
        }
        for each in workers:
            each.close()
    return found


def scaling(particles: int, num_envs: int, rounds: int) -> dict[str, Any]:
    """Wall time on one thread over that on two, the best of all rounds: on a shared machine the second core is often busy."""
    workers = [Worker("ours", particles=particles, num_envs=num_envs, threads=threads) for threads in (1, 2)]
    result: dict[str, Any] = {"particles": particles, "num_envs": num_envs}
    for command in ("forward", "forward_backward"):
        one, two = interleaved(workers, command, rounds, "wall")
        result[command] = min(one) / min(two)
        result[f"{command}_rate"] = workers[0].particle_substeps / min(two)
    for each in workers:
        each.close()
    return result


def memory(substeps: int, *, window: int = 0) -> float:
    """Extra resident memory of a rollout with 10k particles, GB."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.soft.memory"]
    command += ["--substeps", str(substeps), "--window", str(window)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["rss_gb"])


def main() -> None:
    options = tyro.cli(Options)
    rounds = min(options.rounds, 5) if options.quick else options.rounds
    peers = ["textbook"]
    if not options.quick:
        peers += ["tuned"] + (["warp"] if importlib.util.find_spec("warp") else [])
    rows = []
    for precision in ("f32",) if options.quick else ("f32", "f64"):
        for particles in (10_000, 3_000):
            for row in compare(particles, precision, peers, rounds):
                rows.append(row)
                print(
                    f"{row['command']:16} {precision} {particles:6} against {row['peer']:8} {row['ratio']:5.1f}x "
                    f"(worst {row['worst']:.1f}x; {row['ours_ns']:.0f} and {row['peer_ns']:.0f} ns a particle and substep)",
                    flush=True,
                )
    batches = [scaling(3_000, n, 3 * rounds) for n in ((8,) if options.quick else (1, 2, 8, 64))]
    for row in batches:
        print(
            f"two threads, {row['num_envs']} environments of 3k: {row['forward']:.2f}x forward, "
            f"{row['forward_backward']:.2f}x forward and backward",
            flush=True,
        )
    limit = limits(rounds)
    for particles, row in limit.items():
        print(
            f"forward          f32 {particles:6} over the limit    {row['ratio']:5.2f}x "
            f"({row['ours_ns']:.0f} and {row['limit_ns']:.0f} ns a particle and substep)",
            flush=True,
        )
    memories = {1000: memory(1000)}
    if not options.quick:
        memories[10_000] = memory(10_000)
        memories[-10_000] = memory(10_000, window=25)
    print("extra memory, GB:", {k: round(v, 3) for k, v in memories.items()}, flush=True)
    kinds = ("soft",) if options.quick else ("soft", "rigid", "coupled")
    whole = whole_tasks.measured(cold=kinds)
    print("whole tasks:", whole, flush=True)
    if options.table is not None:
        write_part(options.table, "soft_speed", tables(rows, batches, memories, limit, whole))
    if options.json:
        found = {
            (r["command"], r["particles"]): r["ratio"] for r in rows if r["precision"] == "f32" and r["peer"] == "textbook"
        }
        two = next(row for row in batches if row["num_envs"] == 8)
        print(
            json.dumps(
                {
                    "forward_f32_10k": round(found["forward", 10_000], 2),
                    "forward_backward_f32_10k": round(found["forward_backward", 10_000], 2),
                    "forward_f32_3k": round(found["forward", 3_000], 2),
                    "forward_backward_f32_3k": round(found["forward_backward", 3_000], 2),
                    "two_threads": round(two["forward_backward"], 2),
                    "rss_gb_1000_substeps": round(memories[1000], 3),
                    "limit_ratio_10k": round(limit[10_000]["ratio"], 2) if limit else None,
                    "limit_ratio_3k": round(limit[3_000]["ratio"], 2) if limit else None,
                    **{key: whole[key] for key in ("rollout_detour", "rollout_three_way_push", "coupled_share")},
                    "compile_cold_s": whole["soft"]["cold"],
                }
            )
        )


def tables(
    rows: list[dict[str, Any]],
    batches: list[dict[str, Any]],
    memories: dict[int, float],
    limit: dict[int, dict[str, float]],
    whole: dict[str, Any],
) -> str:
    """The tables of docs/soft_speed.md."""
    lines = [
        "| particles | precision | pass | peer | ratio | worst round | ours, ns | peer, ns |",
        "|--:|--|--|--|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda r: (r["peer"], -r["particles"], r["precision"], r["command"])):
        lines.append(
            f"| {row['particles']} | {row['precision']} | {row['command'].replace('_', ' + ')} | {row['peer']} | "
            f"{row['ratio']:.1f} | {row['worst']:.1f} | {row['ours_ns']:.0f} | {row['peer_ns']:.0f} |"
        )
    lines += ["", "| environments | two threads, forward | forward + backward | forward, M/s | forward + backward, M/s |"]
    lines.append("|--:|--:|--:|--:|--:|")
    for row in batches:
        lines.append(
            f"| {row['num_envs']} | {row['forward']:.2f} | {row['forward_backward']:.2f} | {row['forward_rate'] / 1e6:.1f} | "
            f"{row['forward_backward_rate'] / 1e6:.1f} |"
        )
    lines += ["", "| particles | forward, f32: ours over the limit | ours, ns | limit, ns |", "|--:|--:|--:|--:|"]
    lines += [f"| {n} | {row['ratio']:.2f} | {row['ours_ns']:.0f} | {row['limit_ns']:.0f} |" for n, row in limit.items()]
    lines += ["", "| substeps | extra memory, GB |", "|--:|--:|"]
    lines += [f"| {abs(n)}{' (windows of 25 control steps)' if n < 0 else ''} | {gb:.3f} |" for n, gb in memories.items()]
    lines += ["", "| whole tasks (`benchmarks/soft/whole_tasks.py`) | |", "|--|--:|"]
    lines.append(f"| Detour, 32 environments: steps that keep nothing over a rollout | {whole['rollout_detour']:.2f} |")
    lines.append(f"| ThreeWayPush, likewise | {whole['rollout_three_way_push']:.2f} |")
    lines.append(
        f"| coupled over soft speed a particle, the worse of PourLiquid and ScoopSand | {whole['coupled_share']:.2f} |"
    )
    for kind in ("soft", "rigid", "coupled"):
        if kind in whole:
            both = f"{whole[kind]['cold']:.1f}, {whole[kind]['cached']:.1f}"
            lines.append(f"| to the first gradient, {kind}, CPU s: cold, cached | {both} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
