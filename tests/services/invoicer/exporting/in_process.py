"""Makes an export of a world's month as the command and the route do. I/O: reads of Postgres."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from services.invoicer.exporting.accounts_file import accounts_of
from services.invoicer.exporting.encoding import Format
from services.invoicer.exporting.kinds import Kind
from services.invoicer.exporting.reading import OpenExport, open_export
from shared.periods import Period
from shared.settings import Settings
from tests.integration.harness.world import World

Opened = AbstractAsyncContextManager[OpenExport]


def opened(
    world: World,
    kind: Kind,
    form: str,
    period: Period | None = None,
    settings: Settings | None = None,
) -> Opened:
    """Open an export of the world's month, or another."""
    return open_export(
        world.engine("tallybook_invoicer"),
        kind,
        period or world.period,
        Format(form),
        accounts=accounts_of(settings or world.settings),
        now=datetime.now(UTC),
    )


async def exported(
    world: World,
    kind: Kind,
    form: str,
    period: Period | None = None,
    settings: Settings | None = None,
    told: Callable[[str | None], object] = lambda _: None,
) -> bytes:
    """Give an export's bytes; `told` hears why the month may still change."""
    async with opened(world, kind, form, period, settings) as export:
        told(export.so_far)
        parts = [export.encoder.rows(batch.rows) async for batch in export.batches]
    return b"".join([*parts, export.encoder.end()])
