"""An idempotency key follows from what is sent, so that another process finds the same one."""

import pytest

from services.invoicer.calls import idempotency_key, params_digest

SUBJECT, STEP, PARAMS = "inv_1", "create", ["cus_1", "hash"]


def test_the_same_call_has_the_same_key_in_every_process() -> None:
    key = idempotency_key(params_digest(SUBJECT, STEP, PARAMS), 0)
    assert key == "tallybook-66c35b77f918cd0f2168a6890456786c645f644ba092737f"


@pytest.mark.parametrize(
    ("subject", "step", "params"),
    [
        ("inv_2", STEP, PARAMS),
        (SUBJECT, "finalize", PARAMS),
        (SUBJECT, STEP, ["cus_2", "hash"]),
        (SUBJECT, STEP, ["cus_1", "hash", ""]),
        (SUBJECT, STEP, ["cus_1hash"]),
        ("inv_1create", "", PARAMS),
    ],
)
def test_another_call_has_another_key(subject: str, step: str, params: list[str]) -> None:
    other = idempotency_key(params_digest(subject, step, params), 0)
    assert other != idempotency_key(params_digest(SUBJECT, STEP, PARAMS), 0)


def test_what_stripe_has_refused_gets_a_key_that_it_does_not_know() -> None:
    digest = params_digest(SUBJECT, STEP, PARAMS)
    assert len({idempotency_key(digest, refused) for refused in range(5)}) == 5


def test_a_key_is_no_longer_than_stripe_takes() -> None:
    assert len(idempotency_key(params_digest("x" * 9999, STEP, PARAMS), 10**6)) <= 255
