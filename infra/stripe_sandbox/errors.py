"""Stripe's errors, as the sandbox answers them. Pure."""

from typing import Any

_DOC_URL = "https://stripe.com/docs/error-codes/"


class StripeApiError(Exception):
    """An error answer in Stripe's shape.

    `before_execution`: the request was refused before its operation began (its parameters
    were wrong). Stripe keeps no such answer for an idempotency key:
    https://docs.stripe.com/api/idempotent_requests.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        before_execution: bool = False,
    ) -> None:
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.kind = kind
        self.before_execution = before_execution
        super().__init__(message)

    @property
    def body(self) -> dict[str, Any]:
        """The answer's body; like Stripe's, without the fields that have no value."""
        error = {"type": self.kind, "message": self.message}
        if self.code is not None:
            error["code"] = self.code
            if self.kind == "invalid_request_error":
                error["doc_url"] = _DOC_URL + self.code.replace("_", "-")
        if self.param is not None:
            error["param"] = self.param
        return {"error": error}


def invalid(message: str, param: str, code: str | None = None) -> StripeApiError:
    """Make the error for a parameter's value that can't be read."""
    return StripeApiError(400, message, code=code, param=param, before_execution=True)


def unknown_parameter(param: str) -> StripeApiError:
    """Make the error for a parameter that the operation does not take."""
    return invalid(f"Received unknown parameter: {param}", param, "parameter_unknown")


def missing_parameter(param: str) -> StripeApiError:
    """Make the error for a parameter that the operation needs."""
    return invalid(f"Missing required param: {param}.", param, "parameter_missing")


def empty_parameter(param: str) -> StripeApiError:
    """Make the error for an empty value of a parameter that can't be unset."""
    message = (
        f"You passed an empty string for '{param}'. We assume empty values are an attempt to"
        f" unset a field; however '{param}' cannot be unset. You should remove '{param}' from"
        " your request or supply a non-empty value."
    )
    return invalid(message, param, "parameter_invalid_empty")


def missing_resource(kind: str, object_id: str, param: str, status: int = 404) -> StripeApiError:
    """Make the error for an id that names nothing: 404 in the path, 400 in a parameter."""
    message = f"No such {kind}: '{object_id}'"
    return StripeApiError(status, message, code="resource_missing", param=param)


def refused(message: str, *, code: str | None = None, param: str | None = None) -> StripeApiError:
    """Make the error for an operation that the object's state does not allow."""
    return StripeApiError(400, message, code=code, param=param)


def idempotency_mismatch(message: str, key: str) -> StripeApiError:
    """Make the error for an idempotency key that was used for another request."""
    advice = f" Try using a key other than '{key}' if you meant to execute a different request."
    return StripeApiError(400, message + advice, kind="idempotency_error")


def idempotency_key_in_use() -> StripeApiError:
    """Make the error for an idempotency key whose first request has not been answered yet."""
    message = (
        "There is currently another in-progress request using this Idempotent Key (that probably"
        " means you submitted twice, and the other request is still going through)"
    )
    return StripeApiError(409, message, code="idempotency_key_in_use", kind="idempotency_error")
