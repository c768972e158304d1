"""Counts, by source, code and hour, of events that ingest did not take. I/O: Postgres.

Counting is a step in memory; what was counted is written every few seconds, so that no request
waits for it. Sources come from strangers: their number is bounded.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from shared.database import TRANSIENT
from shared.duty import Duty
from shared.secrets_guard import holds_secret
from shared.web import running

WRITE_SECONDS = 5.0
_MOST_NAMES = 1_000
_MOST_WAITING = 50_000
_UNNAMED = ""
_DAY = "%Y-%m-%d"

_ADD = text(
    "INSERT INTO rejections AS r (source, code, hour, events)"
    " SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:codes AS text[]),"
    " CAST(:hours AS timestamptz[]), CAST(:events AS bigint[]))"
    " ON CONFLICT (source, code, hour) DO UPDATE SET events = r.events + excluded.events"
)

_Key = tuple[str, str, datetime]


class Rejections:
    """What was not taken since it was last written; a crash loses these few seconds of it.

    A process counts 1,000 different sources a day under their names, further ones together
    under the empty name, as it does what names no source or may hold a secret.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._counts: dict[_Key, int] = {}
        self._names: dict[str, str] = {}
        self._day = ""
        self._duty = Duty("counts of rejections", self.write, seconds=WRITE_SECONDS)

    def count(self, source: str | None, code: str, now: datetime | None = None) -> None:
        """Count one event that was not taken, under its rejection's code or `duplicate`."""
        moment = now or datetime.now(UTC)
        hour = moment.replace(minute=0, second=0, microsecond=0)
        key = (self._name(source or _UNNAMED, f"{moment:{_DAY}}"), code, hour)
        if key in self._counts or len(self._counts) < _MOST_WAITING:
            self._counts[key] = self._counts.get(key, 0) + 1

    def _name(self, source: str, day: str) -> str:
        """Give the name to count a source under."""
        if day != self._day:
            self._day, self._names = day, {}
        name = self._names.get(source)
        if name is None:
            if len(self._names) >= _MOST_NAMES:
                return _UNNAMED
            name = self._names[source] = _UNNAMED if _unfit(source) else source
        return name

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write every few seconds while the context is open, and once more at its end."""
        async with running(self._duty.run()):
            yield
        with contextlib.suppress(*TRANSIENT, DBAPIError):
            await self.write()

    async def write(self) -> None:
        """Add what was counted to the table; what fails to be written waits for the next time."""
        if not self._counts:
            return
        counts, self._counts = self._counts, {}
        keys = sorted(counts)
        rows = {
            "sources": [source for source, _, _ in keys],
            "codes": [code for _, code, _ in keys],
            "hours": [hour for _, _, hour in keys],
            "events": [counts[key] for key in keys],
        }
        try:
            async with AsyncSession(self._engine) as session:
                await session.execute(_ADD, rows)
                await session.commit()
        except BaseException:
            for key, count in counts.items():
                self._counts[key] = self._counts.get(key, 0) + count
            raise


def _unfit(source: str) -> bool:
    """Tell whether a name cannot be stored, or must not be."""
    try:
        return "\0" in source or holds_secret(source.encode())
    except UnicodeEncodeError:
        return True
