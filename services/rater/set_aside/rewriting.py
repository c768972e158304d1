"""Writes a record to the log once more. I/O: Kafka."""

import contextlib
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.broker import KafkaUnavailableError
from shared.kafka_access import finish, kafka_client
from shared.settings import Settings


async def write_again(
    settings: Settings,
    *,
    topic: str,
    key: bytes | None,
    value: bytes,
    headers: Sequence[tuple[str, bytes]],
) -> None:
    """Write a record and return once every in-sync replica holds it.

    Raises `KafkaUnavailableError`; the record may then be on the log all the same.
    """
    servers = settings.kafka_bootstrap_servers
    producer = AIOKafkaProducer(
        **kafka_client(settings),
        acks="all",
        enable_idempotence=True,
        max_request_size=2_000_000,
        request_timeout_ms=int(settings.kafka_ack_seconds * 1000),
    )
    try:
        await producer.start()
        await producer.send_and_wait(topic, value, key=key, headers=list(headers))
    except KafkaError as error:
        raise KafkaUnavailableError(servers, error) from error
    finally:
        with contextlib.suppress(KafkaError):
            await finish(producer.stop())
