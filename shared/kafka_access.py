"""How every client reaches Kafka: which brokers, with TLS or without, and who it says it is.

I/O: reads the files of certificates that the settings name.
"""

import asyncio
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from faststream.kafka.security import parse_security
from faststream.security import (
    BaseSecurity,
    SASLPlaintext,
    SASLScram256,
    SASLScram512,
)

from shared.errors import WrongUseError
from shared.settings import Settings

_MECHANISMS = {
    "PLAIN": SASLPlaintext,
    "SCRAM-SHA-256": SASLScram256,
    "SCRAM-SHA-512": SASLScram512,
}


def kafka_client(settings: Settings) -> dict[str, Any]:
    """Give the arguments that every client of aiokafka takes; raises `WrongUseError`."""
    return {
        "bootstrap_servers": kafka_servers(settings),
        **parse_security(kafka_security(settings)),
    }


def kafka_servers(settings: Settings) -> list[str]:
    """Give the brokers' addresses."""
    return settings.kafka_bootstrap_servers.split(",")


def kafka_security(settings: Settings) -> BaseSecurity | None:
    """Say the same to a broker of FastStream; None for plain connections without a name.

    Raises `WrongUseError` where a setting is missing or a file cannot be read.
    """
    protocol = settings.kafka_security_protocol
    context = _trust(settings) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL_"):
        if settings.kafka_username is None or settings.kafka_password is None:
            raise WrongUseError(
                f"TALLYBOOK_KAFKA_SECURITY_PROTOCOL is {protocol}: set TALLYBOOK_KAFKA_USERNAME"
                " and TALLYBOOK_KAFKA_PASSWORD too"
            )
        return _MECHANISMS[settings.kafka_sasl_mechanism](
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            ssl_context=context,
            use_ssl=context is not None,
        )
    return None if context is None else BaseSecurity(ssl_context=context, use_ssl=True)


async def finish(closing: Awaitable[object]) -> None:
    """Wait until a client of aiokafka is closed, and be cancelled if that was asked meanwhile.

    aiokafka waits for a task of its own that it cancels, and takes the cancellation of whoever
    closes it for that one: a stop in just this moment would be forgotten.
    """
    await closing
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _trust(settings: Settings) -> ssl.SSLContext:
    """Make the TLS context: whom it trusts, and the client's own certificate if there is one."""
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("TALLYBOOK_KAFKA_CA_FILE", settings.kafka_ca_file, error) from None
    if settings.kafka_cert_file is not None:
        try:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file)
        except (OSError, ssl.SSLError) as error:
            names = "TALLYBOOK_KAFKA_CERT_FILE with TALLYBOOK_KAFKA_KEY_FILE"
            raise _unusable(names, settings.kafka_cert_file, error) from None
    return context


def _unusable(setting: str, path: Path | None, error: OSError) -> WrongUseError:
    reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else error
    return WrongUseError(f"{setting}: {path} cannot be used: {reason}")
