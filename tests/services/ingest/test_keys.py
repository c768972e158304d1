"""What of an API key may be shown."""

from services.ingest.keys import describe_key
from shared.api_keys import new_secret, secret_hash
from shared.keys import SEND_EVENTS
from shared.tables.ingest import ApiKey
from tests.shared.factories import NOW


def test_neither_a_secret_nor_its_hash_is_shown() -> None:
    secret = new_secret()
    key = ApiKey(
        id="key_1",
        secret_sha256=secret_hash(secret),
        scopes=[SEND_EVENTS],
        sources=["agents"],
        customers=["ann"],
        event_types=[],
        created_at=NOW,
        expires_at=None,
    )
    shown = describe_key(key)
    assert shown["id"] == "key_1"
    assert shown["customers"] == ["ann"]
    assert secret not in str(shown)
    assert str(key.secret_sha256) not in str(shown)
    assert key.secret_sha256.hex() not in str(shown)
