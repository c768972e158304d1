"""Waits for what comes by itself, however slow the machine is. I/O: the clock."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.web import wait_until


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    """Ask again and again whether something is so; raise `TimeoutError` where it does not come."""
    async with asyncio.timeout(seconds):
        await wait_until(condition, first_delay=0.02, longest=0.05)
