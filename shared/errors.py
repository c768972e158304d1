"""What a user of Tallybook can be told went wrong. Pure.

An error of this family has a message for a person: what is wrong, where, and what to do.
The command line prints it as one line; the HTTP interfaces answer it as a problem (RFC 9457).
"""


class TallybookError(Exception):
    """A fault that a user can understand and act on."""

    code = "error"
    """A stable, machine-readable name, the last part of the problem's type."""
    status = 400
    """The HTTP status that fits."""
    exit_status = 1
    """The command's exit status: 1 for bad news, 2 for wrong use or no connection."""

    def headers(self) -> dict[str, str]:
        """Give the HTTP headers that say more, such as when to come back."""
        return {}


class NotFoundError(TallybookError):
    """A thing was named that does not exist."""

    code = "not_found"
    status = 404


class ConflictingStateError(TallybookError):
    """The act does not fit the state that the thing is in."""

    code = "conflicting_state"
    status = 409


class InvalidInputError(TallybookError):
    """What was given is not valid."""

    code = "invalid_input"
    status = 422


class WrongUseError(TallybookError):
    """The command was used wrongly."""

    code = "wrong_use"
    exit_status = 2


class UnavailableError(TallybookError):
    """A server that is needed cannot be reached."""

    code = "unavailable"
    status = 503
    exit_status = 2

    def headers(self) -> dict[str, str]:
        """Ask to come back in a second."""
        return {"Retry-After": "1"}
