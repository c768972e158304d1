"""Answers a request with an idempotency key once, and the same again later. I/O: the store.

The rules are Stripe's, https://docs.stripe.com/api/idempotent_requests: the first answer is
kept whatever it was, once the operation began; a key may be forgotten after 24 hours.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import msgspec

from infra.stripe_sandbox.answers import KeptAnswer
from infra.stripe_sandbox.errors import (
    StripeApiError,
    idempotency_key_in_use,
    idempotency_mismatch,
)
from infra.stripe_sandbox.forms import Tree
from infra.stripe_sandbox.objects import Json
from infra.stripe_sandbox.store import Store

LONGEST_KEY = 255
"""Characters."""

_KEPT_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body; `original_request` is the id of the request first answered so."""

    status: int
    body: bytes
    original_request: str | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What identifies a request: two with the same key must agree in it."""

    key: str
    path: str
    form: Tree
    request_id: str
    now: int

    @property
    def params(self) -> str:
        """A fingerprint of the parameters, whatever their order."""
        return hashlib.sha256(msgspec.json.encode(self.form, order="sorted")).hexdigest()


@dataclass(slots=True)
class KeysInUse:
    """The keys of the requests that are not answered yet."""

    _keys: set[str] = field(default_factory=set)

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Hold a key while its request is worked on; refuse one that is too long or held."""
        if not 0 < len(key) <= LONGEST_KEY:
            message = f"Idempotency keys have 1 to {LONGEST_KEY} characters."
            raise StripeApiError(400, message, before_execution=True)
        if key in self._keys:
            raise idempotency_key_in_use()
        self._keys.add(key)
        try:
            yield
        finally:
            self._keys.discard(key)


def answer_once(
    store: Store, asked: Asked, read: Callable[[], Json], run: Callable[[Json], Json]
) -> Answer:
    """Read the parameters and run the operation, or give the kept answer.

    The effect and the kept answer commit together. What `read` refuses is not kept; an error
    from `run` is, and leaves nothing else behind.
    """
    with store.transaction():
        kept = store.answers.get(asked.key)
        if kept is not None and kept.created + _KEPT_SECONDS > asked.now:
            _check_same(kept, asked)
            return Answer(kept.status, kept.body, kept.request_id, replayed=True)
        values = read()
        answer = replace(_attempt(store, values, run), original_request=asked.request_id)
        store.answers.keep(
            asked.key,
            KeptAnswer(
                path=asked.path,
                params=asked.params,
                created=asked.now,
                request_id=asked.request_id,
                status=answer.status,
                body=answer.body,
            ),
        )
        return answer


def _attempt(store: Store, values: Json, run: Callable[[Json], Json]) -> Answer:
    try:
        with store.savepoint():
            return Answer(200, msgspec.json.encode(run(values)))
    except StripeApiError as error:
        if error.before_execution:
            raise
        return Answer(error.status, msgspec.json.encode(error.body))


def _check_same(kept: KeptAnswer, asked: Asked) -> None:
    if kept.path != asked.path:
        raise idempotency_mismatch(
            "Keys for idempotent requests can only be used for the same endpoint they were first"
            f" used for ('{asked.path}' vs '{kept.path}').",
            asked.key,
        )
    if kept.params != asked.params:
        raise idempotency_mismatch(
            "Keys for idempotent requests can only be used with the same parameters they were"
            " first used with.",
            asked.key,
        )
