"""The rater as an ASGI app: a FastStream subscriber, two background duties, and its health."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import structlog
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from services.rater import routes
from services.rater.consumer import UsageConsumer
from services.rater.corrections import routes as correction_routes
from services.rater.months import open_months
from services.rater.quotes import routes as quote_routes
from services.rater.rating import Rating
from services.rater.set_aside import routes as set_aside_routes
from services.rater.usage import routes as usage_routes
from services.rater.waiting import rate_waiting
from shared.api_keys import KeyRing
from shared.cycles import look_seldom_for_cycles
from shared.database import TRANSIENT, Pool, open_engine, open_pool
from shared.duty import Duty
from shared.events import TimeLimits
from shared.kafka_access import kafka_security, kafka_servers
from shared.settings import Settings
from shared.tracing import OFF, Tracing, start_tracing
from shared.web import ServiceApp, make_api, running, serve, wait_until

log = structlog.get_logger("tallybook.rater")

_DUTY_SECONDS = 1.0
_DAY = 86_400


class PatientBroker(KafkaBroker):
    """A broker that connects once Postgres and Kafka are there, and waits until then."""

    def __init__(self, settings: Settings, tracing: Tracing) -> None:
        super().__init__(
            kafka_servers(settings),
            security=kafka_security(settings),
            consumer_only=True,
            apply_types=False,
            logger=None,
        )
        self.pool: Pool | None = None
        self.reached = False
        self._settings = settings
        self._tracing = tracing
        self.consumer = UsageConsumer(settings, self)

    async def start(self) -> None:
        """Wait for Postgres, then for Kafka, then consume."""
        await wait_until(self._reach_postgres)
        await wait_until(self._reach_kafka)

    async def _reach_postgres(self) -> bool:
        try:
            self.pool = await open_pool(self._settings, "tallybook_rater", size=4)
        except TRANSIENT as error:
            log.warning("waiting for Postgres", error=type(error).__name__)
            return False
        # What was accepted by ingest must not be refused here for its age: a day's grace.
        limits = TimeLimits(
            self._settings.max_event_age_days + 1, self._settings.max_event_skew_seconds + _DAY
        )
        self.consumer.use(Rating(self.pool, limits, self._tracing), self.pool)
        return True

    async def _reach_kafka(self) -> bool:
        try:
            await super().start()
        except (KafkaError, OSError) as error:
            log.warning("waiting for Kafka", error=type(error).__name__)
            await self.stop()
            return False
        self.reached = True
        return True


def make_app(settings: Settings, tracing: Tracing = OFF) -> ServiceApp:
    """Make the rater's app; it answers at once and says what it still waits for."""
    broker = PatientBroker(settings, tracing)
    keys = KeyRing(settings, "tallybook_rater")

    duties = Duty("months and waiting events", lambda: _do_duties(broker), seconds=_DUTY_SECONDS)

    async def readiness() -> Sequence[str]:
        there = broker.pool is not None and keys.ready and duties.failing is None
        waiting = [] if there else ["postgres"]
        return waiting if broker.reached and broker.consumer.assigned else [*waiting, "kafka"]

    api = make_api("Tallybook rater", "Turns events into line items.", readiness)
    api.include_router(routes.router)
    api.include_router(correction_routes.router)
    api.include_router(set_aside_routes.router)
    api.include_router(quote_routes.router)
    api.include_router(usage_routes.router)
    api.state.settings = settings
    api.state.engine = open_engine(settings, "tallybook_rater")

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with running(duties.run()), keys:
            routes.require_finance.ring = keys
            yield
        await api.state.engine.dispose()
        if broker.pool is not None:
            broker.pool.terminate()

    return ServiceApp(broker, api=api, lifespan=lifespan, tracing=tracing)


async def _do_duties(broker: PatientBroker) -> None:
    """Open months, rate what waited, pass the markers at the log's end."""
    if broker.pool is None:
        return
    opened = await open_months(broker.pool, datetime.now(UTC))
    rated = await rate_waiting(broker.pool)
    await broker.consumer.pass_gaps()
    if opened or rated:
        log.info("caught up", contract_months=opened, waiting_events=rated)


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    app = make_app(settings, start_tracing("tallybook-rater"))
    look_seldom_for_cycles(after=1_000_000)  # a batch's objects all live to its end
    await serve(app, settings, port=settings.rater_port)
