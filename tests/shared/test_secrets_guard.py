"""I11: what looks like an API key is found, wherever and however it is written.

The keys are put together here, so that this file holds none.
"""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.secrets_guard import holds_secret, may_hold_secret
from tests.shared.factories import event_bytes, event_with_raw_data, execution_data

LETTERS = string.ascii_letters + string.digits
SECRETS = {
    "anthropic": "sk-" + "ant-api03-" + "Ab3_-" * 18 + "AA",
    "anthropic, admin": "sk-" + "ant-admin01-" + "Zz9" * 20,
    "openai": "sk-" + "T3BlbkFJ" * 6,
    "openai, project": "sk-" + "proj-" + "aB_3-" * 8,
    "openai, service account": "sk-" + "svcacct-" + "aB_3-" * 8,
    "stripe, live": "sk" + "_live_" + "51H8" * 6,
    "stripe, test": "sk" + "_test_" + "51H8" * 6,
    "stripe, restricted": "rk" + "_live_" + "51H8" * 6,
    "stripe, webhook": "whsec" + "_" + "Zm9v/YmFy+" * 3,
    "aws": "AKIA" + "IOSFODNN7" + "EXAMPLE",
    "aws, temporary": "ASIA" + "IOSFODNN7" + "EXAMPLE",
    "aws, secret": "aws_secret_" + "access_key=" + "wJalrXUtnF/EMI+K7MDE" * 2,
    "aws, secret in XML": "<Secret" + "AccessKey>" + "wJalrXUtnF/EMI+K7MDE" * 2 + "</",
    "aws, session": "IQoJb3" + "JpZ2lu" + "X2VjEJr1" * 12,
    "google": "AI" + "za" + "SyB-1_x" * 5 + "abc",
    "github": "gh" + "p_" + "aB3dE6gH9" * 4,
    "github, server": "gh" + "s_" + "aB3dE6gH9" * 4,
    "github, fine-grained": "github_" + "pat_" + "11AAAA_bC3" * 4,
    "slack": "xo" + "xb-" + "123456789012-abcDEF",
    "slack, app": "xa" + "pp-" + "1-A012-345678-abcdef",
    "pem": "-----BEGIN " + "PRIVATE KEY-----\nMIIEvQIBADAN\n-----END",
    "pem, rsa": "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIEvQIBADAN",
    "pgp": "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----\n",
}
EVERY_SECRET = pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())


def escaped(secret: str) -> str:
    """Write a text in JSON's \\u escapes alone."""
    return "".join(f"\\u{ord(letter):04x}" for letter in secret)


@EVERY_SECRET
def test_a_secret_is_found_wherever_it_stands(secret: str) -> None:
    places = [
        event_bytes(id=secret),
        event_bytes(subject=secret),
        event_bytes(execution_data(key_label=secret)),
        event_bytes(execution_data(note=f"my key is {secret}, keep it")),
        event_bytes(execution_data(note=f"line one\n{secret}")),
        event_bytes(execution_data(note=f"tab\t{secret}")),
        event_bytes(execution_data(note=f"https://api.example?key={secret}")),
        event_bytes(execution_data(note={"headers": [{"x-api-key": secret}]})),
        event_bytes(execution_data(note={secret: 1})),
        event_bytes(execution_data(note=[[[secret]]])),
        event_bytes(traceparent=secret),
        secret.encode(),
    ]
    assert all(holds_secret(raw) for raw in places)
    assert all(may_hold_secret(raw) for raw in places)


@EVERY_SECRET
def test_a_secret_is_found_behind_escapes(secret: str) -> None:
    places = [
        event_with_raw_data('{"note":"' + escaped(secret) + '"}'),
        event_with_raw_data('{"' + escaped(secret) + '":1}'),
        event_with_raw_data('{"note":"' + escaped(secret[0]) + json.dumps(secret[1:])[1:] + "}"),
        event_with_raw_data('{"note":' + json.dumps(secret).replace("/", "\\/") + "}"),
        event_bytes().replace(b"event-1", escaped(secret).encode()),
    ]
    assert all(holds_secret(raw) for raw in places)


@EVERY_SECRET
def test_a_secret_is_found_in_json_within_json(secret: str) -> None:
    inner = json.dumps({"key": secret, "note": f"\n{secret}"})
    hidden = '{"key":"' + escaped(secret) + '"}'
    for _ in range(2):
        assert holds_secret(event_bytes(execution_data(note=inner)))
        assert holds_secret(event_bytes(execution_data(note=hidden)))
        inner, hidden = json.dumps(inner), json.dumps(hidden)


@EVERY_SECRET
def test_a_secret_is_found_in_what_is_no_json(secret: str) -> None:
    for raw in (
        b"\xff" + event_bytes(id=secret),
        event_bytes(id=secret)[:-1],
        event_with_raw_data('{"note":"' + escaped(secret) + '","a":"\\ud800"}'),
        event_with_raw_data('{"note":"' + escaped(secret) + '"')[:-1],
        event_bytes(id=secret).decode().encode("utf-16"),
        event_bytes(id=secret).decode().encode("utf-16-be"),
        event_bytes(id=secret).decode().encode("utf-32"),
    ):
        assert holds_secret(raw)


@pytest.mark.parametrize(
    "name",
    [
        "task-550e8400-e29b-41d4-a716-446655440000",
        "desk-20261016-frankfurt-blue-0042",
        "risk-assessment-2026-10-customer-4711",
        "task_test_0123456789abcdef",
        "disk_live_0123456789abcdef",
        "high_score_" + "0123456789" * 5,
        "the secret of success is a key that fits",
        "rough_" + "abcdef" * 8,
        "01JAKIAB2C3D4E5F6G7H8J9KMN",
        "01JASIAB2C3D4E5F6G7H8J9KMN",
        "550e8400-e29b-41d4-a716-446655440000",
        "sk-short",
        "sk_customer_12345678901234567890",
        "claude-sonnet-4-20250514",
        "production key (main)",
        "PRIVATE KEY rotation report",
        "C:\\tasks\\task-550e8400-e29b-41d4-a716-446655440000",
        "line\ntask-550e8400-e29b-41d4-a716-446655440000",
        "müşteri-éç-顧客",
        "key_1a2b3c4d5e6f",
        "ghi/agents/worker-7",
    ],
)
def test_an_ordinary_name_is_no_secret(name: str) -> None:
    assert not holds_secret(event_bytes(id="1", subject=name))
    assert not holds_secret(event_bytes(execution_data(execution_id=name)))
    assert not holds_secret(event_with_raw_data('{"note":"' + escaped(name) + '"}'))


@given(
    st.text(max_size=30).filter(lambda text: not text[-1:].isalnum()),
    st.text(LETTERS + "_-", min_size=24, max_size=60),
    st.text(max_size=30),
)
def test_the_text_around_a_secret_does_not_hide_it(before: str, random: str, after: str) -> None:
    secret = f"sk-ant-api03-{random}"
    raw = event_bytes(execution_data(note=before + secret + after))
    assert holds_secret(raw)


@given(st.uuids(), st.sampled_from(["task", "desk", "disk", "mask", "agent", "run", "exec"]))
def test_prefixed_uuids_are_no_secrets(uuid: object, prefix: str) -> None:
    assert not holds_secret(event_bytes(id=f"{prefix}-{uuid}", subject=f"{prefix}_{uuid}"))


@given(st.binary(max_size=200))
def test_any_bytes_can_be_looked_through(raw: bytes) -> None:
    assert holds_secret(raw) <= may_hold_secret(raw)


@pytest.mark.parametrize("part", [b"\\u005c", b"sk-.", b"-----BEGIN ", b"\\", b"AKIA", b"\\\\n"])
def test_hostile_repetition_does_no_harm(part: bytes) -> None:
    assert not holds_secret(part * (64_000 // len(part)) + b".")
