import pytest


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """All tests of rpg have tiny tensors."""
