"""The reason that a person gives for an act. Pure."""

from shared.errors import InvalidInputError

_LONGEST = 1_000


def read_reason(text: str) -> str:
    """Give a reason without white space around it, or raise `InvalidInputError`."""
    why = text.strip()
    if not why or len(why) > _LONGEST or "\0" in why:
        raise InvalidInputError(f"say why, in 1 to {_LONGEST} characters")
    return why
