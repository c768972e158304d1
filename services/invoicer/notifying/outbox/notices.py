"""What others are told: the types of notices, and what each is about. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

NoticeType = Literal[
    "invoice.previewed",
    "invoice.finalized",
    "invoice.paid",
    "invoice.void",
    "usage.threshold_reached",
    "source.silent",
]
"""The closed list of types; docs/reference/notices.md says what each of them tells."""

TYPES: tuple[NoticeType, ...] = get_args(NoticeType)

ALERTS: tuple[NoticeType, ...] = ("usage.threshold_reached", "source.silent")
"""Types that ask a person to look; the others tell of what runs as it should."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened, to be told once.

    `key` makes the same notice the same: of all that are put with one type and key, the first
    is kept. `subject` is the id of the customer, invoice or source that it is about. `data` is
    JSON, amounts as decimal strings with a `currency` beside them. Raises `ValueError` for a
    type that there is not, an empty key, or a moment without its offset.
    """

    type: NoticeType
    key: str
    subject: str
    occurred_at: datetime
    data: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"there is no type of notice {self.type!r}")
        if not self.key:
            raise ValueError(f"a notice {self.type} needs a key")
        if self.occurred_at.tzinfo is None:
            raise ValueError(f"the moment of a notice {self.type} needs its offset")

    @property
    def id(self) -> str:
        """Give its name, which follows from type and key: receivers see it as `webhook-id`."""
        return f"ntc_{hashlib.sha256(f'{self.type} {self.key}'.encode()).hexdigest()[:32]}"
