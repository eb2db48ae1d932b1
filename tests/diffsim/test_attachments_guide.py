"""The example of docs/attachments.md runs as it stands."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

GUIDE = (Path(__file__).parents[2] / "docs" / "attachments.md").read_text()


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    names: dict = {}
    exec(compile(example, "attachments.md", "exec"), names)
    states, sim = names["states"], names["sim"]
    grip = [pin.particle for pin in sim._attached.pins if pin.attachment == 0]
    assert float((states[20].x - states[0].x)[0, grip].norm(dim=-1).max()) < 1e-3  # still held,
    assert float((states[-1].x - states[0].x)[0, grip, 2].max()) < -0.02  # and let go
    assert float(names["actions"].grad[..., 2].abs().max()) > 0.0
