"""A stop is not forgotten while a client of Kafka is being closed."""

import asyncio
import contextlib

import pytest

from shared.kafka_access import finish


class Client:
    """Closes as aiokafka's clients do: by cancelling a task of its own and waiting for it."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.closed = False

    async def close(self) -> None:
        self.closing.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        self.closed = True


async def test_whoever_is_cancelled_meanwhile_ends_once_the_client_is_closed() -> None:
    client = Client()
    went_on = False

    async def work() -> None:
        nonlocal went_on
        await finish(client.close())
        went_on = True

    task = asyncio.create_task(work())
    await client.closing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.closed
    assert not went_on


async def test_what_nobody_cancels_goes_on() -> None:
    async def close() -> None:
        await asyncio.sleep(0)

    await finish(close())
