"""Sends a run in a process of its own, as the command does, but sooner there to be killed.

``python -m tests.services.invoicer.sending_process RUN [LEASE_SECONDS]``; ends with 0 when the
run is done.
I/O: Postgres and Stripe, by the settings of the environment.
"""

import asyncio
import sys

from services.invoicer.sending import Sender
from services.invoicer.steering import begin
from services.invoicer.stripe_gateway import StripeGateway
from shared.database import open_engine
from shared.settings import Settings


async def send(run_id: str, lease_seconds: float) -> int:
    """Send what is left of a run."""
    settings = Settings()
    engine = open_engine(settings, "tallybook_invoicer")
    await begin(engine, run_id, approval_by="nobody", actor="tests", resume=True)
    async with StripeGateway(settings) as gateway:
        sender = Sender(
            engine, gateway, workers=settings.invoicer_workers, lease_seconds=lease_seconds
        )
        run = await sender.send(run_id)
    await engine.dispose()
    return 0 if run.state == "done" else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(send(sys.argv[1], float([*sys.argv, "60"][2]))))
