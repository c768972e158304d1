"""Where Stripe tells what happened: `POST /v1/stripe/webhooks`. I/O: HTTP and Postgres.

A message is answered with 2xx once its event is stored, and not before; it is applied
afterwards. Who sent it is told by its signature, not by an API key.
"""

from fastapi import APIRouter, Request, Response

from services.invoicer.following.events import read_message
from services.invoicer.following.inbox import store_events
from services.invoicer.following.signatures import check_signature
from services.invoicer.stripe_objects import API_VERSION
from shared.clock import present
from shared.errors import TallybookError
from shared.openapi_problems import problem_response
from shared.settings import Settings

MOST_BYTES = 1_000_000
"""Stripe's events are far smaller: an invoice comes with its first ten lines."""

router = APIRouter(prefix="/v1", tags=["stripe"])


class TooLargeError(TallybookError):
    """A message is larger than any of Stripe's."""

    code = "too_large"
    status = 413


class NotSetUpError(TallybookError):
    """Nobody can tell whether a message is Stripe's, so that none is taken."""

    code = "webhooks_not_set_up"
    status = 404


@router.post(
    "/stripe/webhooks",
    status_code=204,
    response_class=Response,
    responses={
        400: problem_response("Not signed by Stripe just now, or no event of our API version"),
        404: problem_response("Not set up: there is no signing secret"),
        413: problem_response("Larger than a message of Stripe's"),
        503: problem_response("Postgres does not answer; Stripe sends it again"),
    },
)
async def take_message(request: Request) -> None:
    """Store an event that Stripe sends; one that is stored already is taken again."""
    settings: Settings = request.app.state.settings
    given = settings.stripe_webhook_secret
    secret = "" if given is None else given.get_secret_value()
    if not secret:
        raise NotSetUpError(
            "the endpoint's signing secret is not known: set TALLYBOOK_STRIPE_WEBHOOK_SECRET"
        )
    body = await _body(request)
    now = present()
    check_signature(request.headers.get("stripe-signature"), body, secret, int(now.timestamp()))
    event = read_message(body, API_VERSION)
    await store_events(request.app.state.engine, [event], now=now, listed=False)


async def _body(request: Request) -> bytes:
    """Read the body, as far as it is no larger than allowed."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise TooLargeError(f"a message of Stripe's has at most {MOST_BYTES} bytes")
    return bytes(body)
