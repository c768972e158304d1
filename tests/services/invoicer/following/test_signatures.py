"""A message is Stripe's if its signature fits and it was sent just now."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.following.signatures import SignatureError, check_signature
from tests.services.invoicer.following.messages import signed

NOW = 1_790_000_000
SECRET = "whsec_test"
BODY = b'{"id": "evt_1"}'


@given(st.binary(max_size=200), st.integers(-300, 300))
def test_what_is_signed_within_the_tolerance_is_taken(body: bytes, late: int) -> None:
    check_signature(signed(body, SECRET, NOW + late), body, SECRET, NOW)


@pytest.mark.parametrize("at", [NOW - 301, NOW + 301, 0])
def test_an_old_message_or_one_of_the_future_is_not(at: int) -> None:
    with pytest.raises(SignatureError, match="300 seconds"):
        check_signature(signed(BODY, SECRET, at), BODY, SECRET, NOW)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_a_body_of_which_one_byte_differs_is_not(index: int, change: int) -> None:
    other = bytearray(BODY)
    other[index] ^= change
    with pytest.raises(SignatureError, match="no signature fits"):
        check_signature(signed(BODY, SECRET, NOW), bytes(other), SECRET, NOW)


def test_the_time_is_signed_too() -> None:
    header = signed(BODY, SECRET, NOW - 1000).replace(str(NOW - 1000), str(NOW))
    with pytest.raises(SignatureError, match="no signature fits"):
        check_signature(header, BODY, SECRET, NOW)


def test_one_of_several_signatures_is_enough() -> None:
    good = signed(BODY, SECRET, NOW).partition(",")[2]
    check_signature(f"t={NOW},v1={'0' * 64},v0=x,{good}", BODY, SECRET, NOW)


@pytest.mark.parametrize(
    "header", [None, "", "v1=abc", "t=now,v1=abc", "t=,v1=", f"t={NOW}", f"t={NOW},t={NOW},v1=a"]
)
def test_a_header_that_says_too_little_is_no_signature(header: str | None) -> None:
    with pytest.raises(SignatureError):
        check_signature(header, BODY, SECRET, NOW)


def test_another_scheme_is_no_signature() -> None:
    digest = hmac.new(SECRET.encode(), f"{NOW}.".encode() + BODY, hashlib.sha256).hexdigest()
    with pytest.raises(SignatureError, match="no signature fits"):
        check_signature(f"t={NOW},v0={digest}", BODY, SECRET, NOW)


@given(st.text(max_size=80))
def test_any_text_is_refused_and_breaks_nothing(header: str) -> None:
    with pytest.raises(SignatureError):
        check_signature(header, BODY, SECRET, NOW)
