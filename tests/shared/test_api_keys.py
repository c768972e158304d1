"""API keys are random, recognisable, kept only as a hash, and end when they say."""

import re
from datetime import timedelta

from shared.api_keys import new_secret, secret_hash
from shared.keys import SEND_EVENTS, Key
from tests.shared.factories import NOW


def test_a_secret_is_long_random_and_recognisable() -> None:
    secrets = {new_secret() for _ in range(200)}
    assert len(secrets) == 200
    assert all(re.fullmatch(r"tbk_[A-Za-z0-9_-]{43}", secret) for secret in secrets)


def test_a_hash_tells_secrets_apart_and_does_not_tell_them() -> None:
    one, other = new_secret(), new_secret()
    assert secret_hash(one) == secret_hash(one)
    assert secret_hash(one) != secret_hash(other)
    assert len(secret_hash(one)) == 32
    assert one.encode() not in secret_hash(one)


def test_a_key_is_in_force_until_it_expires() -> None:
    key = Key("key_1", frozenset({SEND_EVENTS}), expires_at=NOW)
    assert key.in_force(NOW - timedelta(microseconds=1))
    assert not key.in_force(NOW)
    assert not key.in_force(NOW + timedelta(days=1))


def test_a_key_without_an_end_stays_in_force() -> None:
    key = Key("key_1", frozenset({SEND_EVENTS}))
    assert key.in_force(NOW + timedelta(days=36_500))
