"""Remembers sources for a while, so that askers cannot load Postgres. I/O: reads of Postgres."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from services.ingest.whereabouts.source_reading import read_sources
from services.ingest.whereabouts.sources import Source

_MOST = 100

_Asked = tuple[frozenset[str], frozenset[str]]
_Read = tuple[datetime, Sequence[Source]]


class RememberedSources:
    """Sources as they were read last; one reading at a time, each at most every so often."""

    def __init__(self, *, seconds: float = 30.0) -> None:
        self._age = timedelta(seconds=seconds)
        self._read: dict[_Asked, _Read] = {}
        self._reading = asyncio.Lock()

    async def get(
        self,
        session: AsyncSession,
        now: datetime,
        sources: frozenset[str],
        customers: frozenset[str],
    ) -> _Read:
        """Give the sources that a key may see, and when they were read."""
        asked = (sources, customers)
        async with self._reading:
            known = self._read.get(asked)
            if known is not None and now - known[0] < self._age:
                return known
            found = await read_sources(session, now, sources=sources, customers=customers)
            if len(self._read) >= _MOST:
                self._read.clear()
            self._read[asked] = now, found
            return now, found
