"""Fixtures of the command line's tests."""

import pytest

from tests.cli.command_line import STARTED


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test():
    yield
    while STARTED:
        left = STARTED.pop()
        left.kill()
        left.wait()
