"""How many examples the property tests try: few by default, many at night.

`HYPOTHESIS_PROFILE=nightly` in the environment chooses the many.
"""

import os

from hypothesis import HealthCheck, settings

_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("default", _COMMON, max_examples=50)
settings.register_profile("nightly", _COMMON, max_examples=2_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
