"""Load every robot (URDF, MJCF) and every mesh of the packages of models that `make test` installs.

    python -m benchmarks.loading --json

prints {"robots": n, "loaded": n, "warned": n, "meshes": n, "meshes_loaded": n, "refused_with_reason": n, "crashed": 0,
"hung": 0, "compared": n, "agree": n, "constrained_compared": n, "constrained_agree": n, "worst": [[name, difference], ...]}
on its last line. "robots", "loaded" and "warned" are of robots; "refused_with_reason", "crashed" and "hung" of both. What is
refused gives one line of reason; a trial that takes longer than --seconds hangs. Robots that MuJoCo loads are compared with it,
as trees and, those with constraints, with them (`mujoco_agreement.py`). Results are written to --out as they come, and --resume
goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from pathlib import Path

from benchmarks.loading.model_packages import models
from benchmarks.loading.trials import CONSTRAINED, EXACT, Result, results
from benchmarks.processes import write_table

WORST = 5


def summary(found: list[Result]) -> dict[str, object]:
    """The counts that `--json` prints."""
    robots = [result for result in found if result["kind"] == "robot"]
    verdicts = Counter(result["verdict"] for result in found)
    compared = [result for result in robots if "apart" in result]
    constrained = [result for result in robots if "constrained_apart" in result]
    apart = [(result["apart"] / EXACT, result["apart"], result["name"]) for result in compared]
    apart += [(each["constrained_apart"] / CONSTRAINED, each["constrained_apart"], each["name"]) for each in constrained]
    return {
        "robots": len(robots),
        "loaded": sum(result["verdict"] == "loaded" for result in robots),
        "warned": sum(bool(result.get("warnings")) for result in robots),
        "meshes": len(found) - len(robots),
        "meshes_loaded": verdicts["loaded"] - sum(result["verdict"] == "loaded" for result in robots),
        "refused_with_reason": verdicts["refused"],
        "crashed": verdicts["crashed"],
        "hung": verdicts["hung"],
        "compared": len(compared),
        "agree": sum(result["apart"] <= EXACT for result in compared),
        "constrained_compared": len(constrained),
        "constrained_agree": sum(result["constrained_apart"] <= CONSTRAINED for result in constrained),
        "worst": [[name, far if math.isfinite(far) else "failed"] for _, far, name in sorted(apart, reverse=True)[:WORST]],
    }


def rows(found: list[Result]) -> list[list[str]]:
    """A row of the table for each package."""
    table = []
    for package in sorted({result["package"] for result in found}):
        own = summary([result for result in found if result["package"] == package])
        table.append([package, *(str(own[name]) for name in COLUMNS)])
    own = summary(found)
    return [*table, ["all", *(str(own[name]) for name in COLUMNS)]]


def complaint(result: Result) -> str:
    """What is wrong with a result, in a line; nothing if all is well."""
    if result["verdict"] != "loaded":
        return " ".join(str(result.get("reason", "")).split())[:300]
    bad = result.get("apart", 0.0) > EXACT or result.get("constrained_apart", 0.0) > CONSTRAINED
    if bad:
        apart = f"{result.get('apart')}, with constraints {result.get('constrained_apart')}, from MuJoCo"
        return " ".join(f"{apart} {result.get('failed', '')}".split())[:300]
    return str(result.get("not_compared", "")) if result.get("not_simulated") else ""


COLUMNS = (
    "robots", "loaded", "warned", "meshes", "meshes_loaded", "refused_with_reason", "crashed", "hung", "compared", "agree",
    "constrained_compared", "constrained_agree",
)  # fmt: skip


def main() -> None:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--only", default="", help="files whose name holds this")
    parser.add_argument("--kind", choices=("robot", "mesh"), help="robots or meshes alone")
    parser.add_argument("--seconds", type=float, default=120.0, help="a file that takes longer hangs")
    parser.add_argument("--out", type=Path, default=Path("runs/loading.jsonl"), help="results, one a line")
    parser.add_argument("--resume", action="store_true", help="keep the results that are in --out")
    parser.add_argument("--table", type=Path, help="a file of Markdown whose table is renewed")
    given = parser.parse_args()
    wanted = [each for each in models() if given.only in each.name and given.kind in (None, each.kind)]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    found: list[Result] = []
    if given.resume and given.out.exists():
        names = {each.name for each in wanted}
        found = [result for line in given.out.read_text().splitlines() if (result := json.loads(line))["name"] in names]
    have = {result["name"] for result in found}
    with given.out.open("a" if given.resume else "w") as file:
        for result in results([each for each in wanted if each.name not in have], given.seconds):
            found.append(result)
            file.write(json.dumps(result) + "\n")
            file.flush()
            if said := complaint(result):
                print(f"{result['verdict']}: {result['name']}: {said}", file=sys.stderr, flush=True)
    counts = summary(found)
    if given.table is not None:
        write_table(given.table, "loading", ["package", *(name.replace("_", " ") for name in COLUMNS)], rows(found))
    print(json.dumps(counts) if given.json else "\n".join(f"{name}: {value}" for name, value in counts.items()))


if __name__ == "__main__":
    main()
