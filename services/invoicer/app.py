"""The invoicer as an ASGI app: its HTTP interface, and the runs it sends in the background."""

import contextlib
from collections.abc import AsyncIterator, Sequence

from faststream.kafka import KafkaBroker

from services.invoicer import routes
from services.invoicer.alerts import routes as alert_routes
from services.invoicer.alerts.evaluating import Evaluator
from services.invoicer.alerts.silences import SilenceWatch
from services.invoicer.auditing import routes as audit_routes
from services.invoicer.carried import routes as carried_routes
from services.invoicer.detail import routes as detail_routes
from services.invoicer.exporting import routes as export_routes
from services.invoicer.following import routes as following_routes
from services.invoicer.following import webhooks
from services.invoicer.following.follower import Follower
from services.invoicer.notifying import routes as notifying_routes
from services.invoicer.notifying.delivery.pruning import prune
from services.invoicer.notifying.delivery.rounds import Rounds
from services.invoicer.notifying.transport.courier import Courier
from services.invoicer.sending import Sender
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.under_way import SendingUnderWay
from shared.api_keys import KeyRing
from shared.clock import present
from shared.cycles import look_seldom_for_cycles
from shared.database import open_engine
from shared.duty import Duty
from shared.kafka_access import kafka_servers
from shared.settings import Settings
from shared.tracing import OFF, Tracing, start_tracing
from shared.web import ServiceApp, make_api, running, serve

_APPLY_SECONDS = 1.0
_ROUND_SECONDS = 1.0
_MEASURE_SECONDS = 15.0
_PRUNE_SECONDS = 3_600.0


class NoSubscriber(KafkaBroker):
    """The app's broker: the invoicer consumes nothing, and asks Kafka only while it closes."""

    async def start(self) -> None:
        """Do nothing: there is nothing to consume."""

    async def stop(self, *_: object) -> None:
        """Do nothing: nothing was started."""


def make_app(settings: Settings, tracing: Tracing = OFF) -> ServiceApp:
    """Make the invoicer's app; it answers at once and says what it still waits for."""
    keys = KeyRing(settings, "tallybook_invoicer")
    courier = Courier(settings)

    async def readiness() -> Sequence[str]:
        return [] if keys.ready else ["postgres"]

    async def prune_notices() -> int:
        days = settings.notice_retention_days
        return await prune(api.state.engine, present(), days=days)

    api = make_api("Tallybook invoicer", "Closes months, makes invoices, reconciles.", readiness)
    api.include_router(routes.router)
    api.include_router(carried_routes.router)
    api.include_router(detail_routes.router)
    api.include_router(following_routes.router)
    api.include_router(webhooks.router)
    api.include_router(export_routes.router)
    api.include_router(audit_routes.router)
    api.include_router(alert_routes.router)
    api.include_router(notifying_routes.router)
    api.state.settings = settings
    api.state.engine = open_engine(settings, "tallybook_invoicer")

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            async with (
                keys,
                StripeGateway(settings) as gateway,
                courier,
                Rounds(api.state.engine, courier) as rounds,
            ):
                sender = Sender(
                    api.state.engine,
                    gateway,
                    workers=settings.invoicer_workers,
                    days_until_due=settings.days_until_due,
                    tracing=tracing,
                )
                follower = Follower(api.state.engine, gateway)
                applying = Duty("events of Stripe", follower.apply_waiting, seconds=_APPLY_SECONDS)
                catching_up = Duty(
                    "missed events of Stripe",
                    follower.catch_up,
                    seconds=settings.stripe_catch_up_seconds,
                )
                evaluator = Evaluator(api.state.engine)
                thresholds = Duty("thresholds", evaluator.evaluate, seconds=settings.alerts_seconds)
                watch = SilenceWatch(settings, api.state.engine)
                silences = Duty("silent sources", watch.look, seconds=settings.silence_seconds)
                delivering = Duty("notices", rounds.begin, seconds=_ROUND_SECONDS)
                measuring = Duty("figures of notices", rounds.measure, seconds=_MEASURE_SECONDS)
                pruning = Duty("old notices", prune_notices, seconds=_PRUNE_SECONDS)
                async with (
                    running(applying.run()),
                    running(catching_up.run()),
                    running(thresholds.run()),
                    running(silences.run()),
                    running(delivering.run()),
                    running(measuring.run()),
                    running(pruning.run()),
                    SendingUnderWay(sender) as under_way,
                ):
                    api.state.gateway = gateway
                    api.state.courier = courier
                    api.state.under_way = under_way
                    routes.require_finance.ring = keys
                    yield
        finally:
            await api.state.engine.dispose()

    broker = NoSubscriber(kafka_servers(settings), logger=None)
    return ServiceApp(broker, api=api, lifespan=lifespan, tracing=tracing)


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    app = make_app(settings, start_tracing("tallybook-invoicer"))
    look_seldom_for_cycles()
    await serve(app, settings, port=settings.invoicer_port)
