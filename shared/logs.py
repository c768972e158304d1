"""Log lines of the services: readable on a terminal, JSON where asked for; never a payload.

An error's message may quote what it stumbled over, and Postgres quotes whole rows. So a logged
exception says where it came from and what it is; its message only if it is one of ours, or the
operating system's.
"""

import logging
import sys
import traceback
from types import TracebackType

import structlog

from shared.errors import TallybookError
from shared.settings import Settings

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_WORDED = (TallybookError, OSError)
"""Errors whose messages hold nothing of a payload."""


def describe_exception(error: BaseException) -> str:
    """Give an exception and what it came from, with the places in the code and without values."""
    parts = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        frames = "".join(traceback.format_tb(link.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{name_error(link)}")
        inner = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
        parts.extend(describe_exception(one) for one in inner)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\nwhich came of:\n".join(parts)


def name_error(error: BaseException) -> str:
    """Say what an exception is, with its message only if that can hold nothing of a payload."""
    kind = type(error)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    name = f"{where}{kind.__qualname__}"
    if isinstance(error, _WORDED):
        return f"{name}: {error}"
    state = getattr(error, "sqlstate", None)
    return name if state is None else f"{name} ({state})"


def _format_exception(exc_info: ExcInfo) -> str:
    return describe_exception(exc_info[1])


class _Formatter(logging.Formatter):
    """Lines of the libraries."""

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """Describe an exception without values."""
        error = ei[1] if isinstance(ei, tuple) else None
        return describe_exception(error) if isinstance(error, BaseException) else ""


def configure(settings: Settings) -> None:
    """Send structlog's lines and the libraries' warnings to standard error."""
    renderer: structlog.types.Processor
    if settings.log_json:
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_format_exception),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
