"""The table of docs/physics.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

POINTS = {
    1: "Friction sticks",
    2: "Round things roll",
    3: "Spins keep their energy",
    4: "Contact scales with the body",
    5: "Soft meets rigid independently of dt, and as Archimedes says",
    6: "Liquids part, and sand runs out",
    7: "f32 does not freeze, and batches change nothing",
    8: "External forces and torques",
    10: "Bounces, blades, stiff solids",
}
HEAD = """# Physics

    python -m benchmarks.physics --table docs/physics.md   # this file
    python -m benchmarks.physics --json                    # the same as one JSON object on the last line

Scenes whose right outcome is known, from closed forms, conserved quantities or experiments, through the public interface at
default settings (dt 1 ms and f64 unless said). `benchmarks/physics/` has a file for each subject, which says where each
expected value comes from. Of a yes-or-no question 1 is yes.
"""


def write_table(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """All of these records, by point."""
    records = list(records)
    passed = sum(record["pass"] for record in records)
    lines = [HEAD, f"{passed} of {len(records)} pass.", ""]
    for point, title in POINTS.items():
        own = [record for record in records if record["point"] == point]
        if not own:
            continue
        lines += [f"## {title}", "", "| case | expected | tolerance | measured | |", "|---|--:|--:|--:|---|"]
        for record in own:
            measured = "nothing" if record["measured"] is None else f"{record['measured']:.4g}"
            unit = "" if record["unit"] in ("", "yes", "SI") else f" {record['unit']}"
            verdict = "passes" if record["pass"] else "fails"
            lines.append(
                f"| {record['name']} | {record['expected']:.4g}{unit} | {record['tolerance']:.2g} | {measured} | {verdict} |"
            )
        lines.append("")
    path.write_text("\n".join(lines))
