"""How many examples the property tests try, few by default and many at night; which tests go first.

`HYPOTHESIS_PROFILE=nightly` in the environment chooses the many.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("default", _COMMON, max_examples=50)
settings.register_profile("nightly", _COMMON, max_examples=2_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests with servers first: files of a minute, which quick ones then make even."""
    items.sort(key=lambda item: "integration" not in item.path.parts)
