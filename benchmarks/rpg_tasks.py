"""Does RPG cover several goals, and get out of a trap? Tasks with known outcomes at equal simulator steps.

    python -m benchmarks.rpg_tasks --seeds 5 --json [--tasks CupTrap]

TripleMove and ThreeWayPush have three equally good goals, CupTrap a deep local optimum on the straight way. The methods, and
how a run is judged: `benchmarks/rpg/task_runs.py`.
"""

from __future__ import annotations

import json
from typing import Any

import tyro

from benchmarks.rpg.task_runs import Options, main

TASKS = ("TripleMove", "ThreeWayPush", "CupTrap")

if __name__ == "__main__":
    chosen = tyro.cli(Options, description=__doc__)
    done = main("benchmarks.rpg_tasks", chosen, TASKS)
    if chosen.json and done:
        summary: dict[str, Any] = {"seeds": chosen.seeds}
        for result in done:
            own = summary.setdefault(f"{result['task']}_{result['method']}", {"succeeded": 0, "outcomes": []})
            own["succeeded"] += int(result["success"] >= 0.5)
            own["outcomes"].append(len(result["outcomes"]))
            own["simulator_steps"] = result["simulator_steps"]
        print(json.dumps(summary))
