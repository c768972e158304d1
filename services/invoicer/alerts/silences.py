"""Tells when a source of events falls silent. I/O: Postgres, and the log's ends.

What is usual for each source is learned once an hour from all events of the last 7 days. In
between, nothing is read as long as every source may still be heard in time; for those that are
overdue, the events since they were last heard. Only for what seems silent then is all of it read
again, once the rater has passed what was on the log: a rater that is behind is no silence.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer.alerts.metrics import evaluated, told
from services.invoicer.notifying.outbox.notices import Notice, NoticeType
from services.invoicer.notifying.outbox.putting import put_all
from shared.broker import end_offsets
from shared.clock import Clock, present
from shared.errors import UnavailableError
from shared.moments import format_moment
from shared.rhythm_reading import read_last_received, read_rhythms
from shared.rhythms import UNHEARD, Rhythm
from shared.settings import Settings

log = structlog.get_logger("tallybook.invoicer")

_TYPE: NoticeType = "source.silent"
_LEARN_EVERY = timedelta(hours=1)
_PAUSE = 0.2
_LATE = timedelta(hours=1)
"""So much later than they happened events may come to be found by the quick look."""

_HANDLED = text("SELECT partition, next FROM offsets WHERE topic = :topic")
_RAISE = text(
    "INSERT INTO silences_raised (source, since, raised_at)"
    " SELECT n.source, n.since, :now"
    " FROM unnest(CAST(:sources AS text[]), CAST(:since AS timestamptz[])) AS n (source, since)"
    " ORDER BY 1, 2 ON CONFLICT DO NOTHING RETURNING source"
)


class SilenceWatch:
    """Looks again and again whether sources are heard; what it has learned of them it keeps."""

    def __init__(
        self,
        settings: Settings,
        engine: AsyncEngine,
        clock: Clock = present,
        *,
        patience: float = 20,
    ) -> None:
        """Make one that knows no source; `patience` is how many seconds it waits for the rater."""
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._patience = patience
        self._learned_at: datetime | None = None
        self._rhythms: dict[str, Rhythm] = {}
        self._told: set[tuple[str, datetime | None]] = set()

    async def look(self) -> list[str]:
        """Tell of every source that is silent, once a silence; give those told of by this."""
        now = self._clock()
        async with AsyncSession(self._engine) as session:
            if self._learned_at is None or now - self._learned_at >= _LEARN_EVERY:
                self._rhythms = await read_rhythms(session, now)
                self._learned_at = now
            elif overdue := self._untold(now):
                await self._hear(session, overdue)
        silent: dict[str, Rhythm] = {}
        if suspected := self._untold(now):
            if not await self._rater_has_passed():
                return []
            silent = await self._confirmed(suspected, now)
        new = await self._raise(silent, now)
        evaluated("sources", now)
        return new

    def _untold(self, now: datetime) -> dict[str, Rhythm]:
        """Give what seems silent, by what is known of it, and was not told of."""
        return {
            source: rhythm
            for source, rhythm in self._rhythms.items()
            if rhythm.is_silent(now) and (source, rhythm.last_received) not in self._told
        }

    async def _hear(self, session: AsyncSession, overdue: Mapping[str, Rhythm]) -> None:
        """Look quickly who of these was heard meanwhile."""
        moments = [rhythm.last_received for rhythm in overdue.values()]
        since = min(moment for moment in moments if moment is not None) - _LATE
        for source, last in (await read_last_received(session, overdue, since)).items():
            self._rhythms[source] = replace(self._rhythms[source], last_received=last)

    async def _confirmed(self, suspected: Collection[str], now: datetime) -> dict[str, Rhythm]:
        """Read all that there is of these sources, and give those that are silent."""
        async with AsyncSession(self._engine) as session:
            found = await read_rhythms(session, now, sources=suspected)
        for source in suspected:
            self._rhythms[source] = found.get(source, UNHEARD)
        return {source: rhythm for source, rhythm in found.items() if rhythm.is_silent(now)}

    async def _rater_has_passed(self) -> bool:
        """Wait until the rater has handled what is on the log now; False if it does not."""
        try:
            ends = await end_offsets(self._settings)
        except UnavailableError as error:
            log.warning("no source is called silent while Kafka is away", why=str(error))
            return False
        waited = 0.0
        while not await self._has_handled(ends):
            if waited >= self._patience:
                log.warning("no source is called silent while the rater is behind")
                return False
            await asyncio.sleep(_PAUSE)
            waited += _PAUSE
        return True

    async def _has_handled(self, ends: Mapping[int, int]) -> bool:
        async with self._engine.connect() as connection:
            rows = await connection.execute(_HANDLED, {"topic": self._settings.usage_topic})
            handled = {row.partition: row.next for row in rows}
        return all(handled.get(partition, 0) >= end for partition, end in ends.items())

    async def _raise(self, silent: Mapping[str, Rhythm], now: datetime) -> list[str]:
        if not silent:
            return []
        async with AsyncSession(self._engine) as session:
            new = await raise_silences(session, silent, now)
            await session.commit()
        self._told |= {(source, rhythm.last_received) for source, rhythm in silent.items()}
        told(_TYPE, len(new))
        if new:
            log.info("sources fell silent", count=len(new))
        return new


async def raise_silences(
    session: AsyncSession, silent: Mapping[str, Rhythm], now: datetime
) -> list[str]:
    """Put down silences, and a notice of each, in the caller's transaction; give the new ones."""
    moments = {source: rhythm.last_received for source, rhythm in silent.items()}
    asked = {"sources": list(moments), "since": list(moments.values()), "now": now}
    new = sorted(row.source for row in await session.execute(_RAISE, asked))
    await put_all(session, [_notice(source, silent[source], now) for source in new])
    return new


def _notice(source: str, rhythm: Rhythm, now: datetime) -> Notice:
    usual = rhythm.longest_usual
    since = format_moment(rhythm.last_received)
    data = {
        "source": source,
        "silent_since": since,
        "longest_usual_silence_seconds": None if usual is None else int(usual.total_seconds()),
    }
    return Notice(_TYPE, f"{source} {since}", source, now, data)
