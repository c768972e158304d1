"""The runs that this process is sending, each in the background and once at a time. I/O."""

import asyncio

import structlog

from services.invoicer.breaker import RunStoppedError
from services.invoicer.sending import Sender
from shared.tables.invoicer import Invoice

log = structlog.get_logger("tallybook.invoicer")


class SendingUnderWay:
    """Starts to send runs; use it as an async context manager, at whose end they are left.

    What is left goes on where it stood when its run is sent again, by whatever process.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    async def __aenter__(self) -> "SendingUnderWay":
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(self, run_id: str) -> bool:
        """Begin to send a run; tell whether it was begun now, or is under way already.

        One that is under way is gone through once more when it comes to its end.
        """
        if run_id in self._tasks:
            self._again.add(run_id)
            return False
        self._tasks[run_id] = asyncio.create_task(self._send(run_id))
        return True

    async def _send(self, run_id: str) -> None:
        try:
            again = True
            while again:
                self._again.discard(run_id)
                run = await self._sender.send(run_id, on_progress=_log_invoice)
                log.info("run", id=run_id, state=run.state)
                again = run_id in self._again
        except RunStoppedError as error:
            log.error("a run was stopped; send it again", run=run_id, why=str(error))
        except Exception:
            log.exception("a run was not sent to its end; send it again", run=run_id)
        finally:
            del self._tasks[run_id]


def _log_invoice(invoice: Invoice) -> None:
    log.info("invoice", id=invoice.id, state=invoice.state, why=invoice.last_error)
