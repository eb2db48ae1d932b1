"""Try wrong arguments on every public constructor and function, and judge by rules how they are refused.

    python -m benchmarks.bad_inputs --json

prints {"tried": n, "clear": n, "silent": n, "ugly": n, "hang": n} on its last line, and before it, or with --all, each one
that is not clear. `judging.py` has the rules, the `_trials.py` files the arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from benchmarks.bad_inputs.judging import VERDICTS
from benchmarks.bad_inputs.workers import results


def main() -> None:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--all", action="store_true", help="also list what is refused clearly")
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--seconds", type=float, default=20.0, help="a call that takes longer hangs")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    for trial, (verdict, said) in results(given.seconds, given.only):
        counts[verdict] += 1
        if given.all or verdict != "clear":
            print(f"{verdict}: {trial.label}: {' '.join(said.split())[:300]}", file=sys.stderr, flush=True)
    line = {"tried": sum(counts.values()), **{verdict: counts[verdict] for verdict in VERDICTS}}
    print(json.dumps(line) if given.json else ", ".join(f"{name} {count}" for name, count in line.items()))


if __name__ == "__main__":
    main()
