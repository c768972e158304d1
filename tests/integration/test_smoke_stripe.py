"""The smoke test for Stripe itself works, cleans up after itself, and takes test keys only."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from services.invoicer.patience import Patience
from shared.errors import TallybookError, WrongUseError
from tests import smoke_stripe
from tests.infra.stripe_sandbox.checked import ok
from tests.integration.harness.world import World
from tests.services.invoicer.stripe_side import StripeSide, stripe_side

HURRIED = Patience(attempts=2, first_delay=0.01, longest_delay=0.02)


@pytest.fixture
async def stripe(world: World) -> AsyncIterator[StripeSide]:
    process = await world.start_stripe()
    async with stripe_side(process.url, world.directory / "stripe.sqlite3") as side:
        yield side


async def test_it_walks_from_a_customer_to_a_void_invoice(world: World, stripe: StripeSide) -> None:
    said: list[str] = []
    await smoke_stripe.walk(world, say=said.append)
    counts = await stripe.counts()
    assert (counts["customer"], counts["invoice"]) == ({"deleted": 1}, {"void": 1})
    requests = await stripe.requests()
    for name in ("finalize", "retrieve", "list_lines", "void"):
        assert requests[f"invoices.{name}"] >= 1
    assert len(said) == 3


@pytest.mark.parametrize(
    ("step", "left", "invoices"), [("finalize", "draft in_", {}), ("void", "open in_", {"void": 1})]
)
async def test_what_fails_is_said_and_nothing_is_left(
    world: World, stripe: StripeSide, step: str, left: str, invoices: dict[str, int]
) -> None:
    fault = {"path": f"/v1/invoices/*/{step}", "kind": "rate_limited", "times": HURRIED.attempts}
    ok(await stripe.api.http.post("/_sandbox/faults", json=fault))
    said: list[str] = []
    with pytest.raises(TallybookError, match="Request rate limit exceeded"):
        await smoke_stripe.walk(world, say=said.append, patience=HURRIED)
    counts = await stripe.counts()
    assert (counts["customer"], counts["invoice"]) == ({"deleted": 1}, invoices)
    assert left in said[-1]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "is not set"),
        ("sk_live_51abc", "a live key"),
        ("rk_live_51abc", "a live key"),
        ("sk_test_sandbox", "no key of Stripe's test mode"),
        ("pk_test_51abc", "no key of Stripe's test mode"),
    ],
)
def test_only_a_key_of_stripes_test_mode_is_taken(key: str, words: str) -> None:
    with pytest.raises(WrongUseError, match=words) as refused:
        smoke_stripe.read_key({smoke_stripe.VARIABLE: key})
    assert not key or key not in str(refused.value)


def test_test_keys_are_taken() -> None:
    for key in ("sk_test_51abc", "rk_test_51abc"):
        assert smoke_stripe.read_key({smoke_stripe.VARIABLE: key}) == key


def test_the_program_says_what_is_missing_and_nothing_is_started() -> None:
    environment = {**os.environ, smoke_stripe.VARIABLE: "sk_live_51abc"}
    ran = subprocess.run(
        [sys.executable, "-m", "tests.smoke_stripe"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: TALLYBOOK_SMOKE_STRIPE_KEY holds a live key")
    assert "51abc" not in ran.stderr
