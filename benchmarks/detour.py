"""The task Detour at equal simulator steps: RPG, one Gaussian, RPG without its bonus, restarts, CEM, a mixture.

    python -m benchmarks.detour --seeds 10 --json

The methods, and how a run is judged: `benchmarks/rpg/task_runs.py`. The last line counts the seeds that succeed.
"""

from __future__ import annotations

import json
from collections import Counter

import tyro

from benchmarks.rpg.task_runs import Options, main

if __name__ == "__main__":
    chosen = tyro.cli(Options, description=__doc__)
    done = main("benchmarks.detour", chosen, ("Detour",))
    if chosen.json and done:
        succeeded = Counter({result["method"]: 0 for result in done})
        succeeded.update(result["method"] for result in done if result["success"] >= 0.5)
        counts = {f"{method}_success": count for method, count in succeeded.items()}
        print(json.dumps({**counts, "seeds": chosen.seeds, "simulator_steps": done[0]["simulator_steps"]}))
