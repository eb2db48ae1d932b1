"""Runs experiments of one subject in a process of its own, and prints each case's record as a line of JSON as it comes.

python -m benchmarks.physics.worker SUBJECT EXPERIMENT...
"""

from __future__ import annotations

import importlib
import json
import sys

import torch

from benchmarks.physics.registry import EXPERIMENTS


def main() -> None:
    torch.set_num_threads(1)
    subject, *names = sys.argv[1:]
    importlib.import_module(f"benchmarks.physics.{subject}")
    for name in names:
        for record in EXPERIMENTS[name].records():
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
