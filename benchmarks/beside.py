"""Rating beside many stored events and beside none, in turns. I/O: two embedded stacks.

The two are measured within the same minutes, because a machine that others use as well is
rarely as quick later as it was before.
"""

import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import events as made
from benchmarks import steps
from infra.local.installation import Installation
from shared.console import err
from shared.periods import Period

_TURNS = 2 * ("none", "stored", "stored", "none")
_WARM_UPS = 2


@dataclass(frozen=True, slots=True)
class Beside:
    """Both rates over all turns; how many were rated beside the stored ones, and are found."""

    stored: steps.Rate
    none: steps.Rate
    rated: int
    found: tuple[int, int, int]


async def rate_beside(count: int, stored: int, period: Period) -> Beside:
    """Rate `count` events four times beside `stored` ones, and four times beside none.

    Before, each rates as many as touch nearly every page of the large key once: a page's first
    change after a checkpoint is logged whole, and checkpoints lie many events apart.
    """
    async with AsyncExitStack() as stack:
        arms = {}
        for name in sorted(set(_TURNS)):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tallybook-bench-"))
            installation = Installation(Path(directory), services=("ingest",))
            arms[name] = _Arm(await stack.enter_async_context(installation), count, period)
            await steps.set_up(installation, period)
        err.print(f"storing {stored:,} events of earlier …")
        await steps.fill(arms["stored"].installation, stored, period)
        err.print("rating beside them and beside none, in turns …")
        for arm in arms.values():
            for _ in range(_WARM_UPS):
                await arm.rate()
        rates = {name: steps.Rate(0, 0) for name in arms}
        for name in _TURNS:
            rates[name] += await arms[name].rate()
        found = await steps.count_rated(arms["stored"].installation)
    return Beside(rates["stored"], rates["none"], arms["stored"].rated, found)


@dataclass(slots=True)
class _Arm:
    """An installation, and how many events it has rated."""

    installation: Installation
    count: int
    period: Period
    rated: int = 0

    async def rate(self) -> steps.Rate:
        """Rate the next events."""
        events = list(made.events(self.rated, self.count, self.period))
        self.rated += self.count
        async with steps.nothing_posted(self.installation):
            await steps.ingest(self.installation, events)
        return await steps.rate(self.installation)
