"""The command for what was carried forward and waits."""

from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.arguments import ROLE, chosen
from services.invoicer.carried.documents import BalancesDocument, balances_document
from services.invoicer.carried.reading import read_balances
from services.invoicer.carrying import Minimums
from shared.clock import present
from shared.console import JsonOption, rows_table, run_in_session, show
from shared.settings import Settings


def carried_command(json: JsonOption = False) -> None:
    """List amounts carried forward that are on no invoice yet, and what becomes of them."""
    minimums = Minimums.read(Settings().invoice_minimums)

    async def read(session: AsyncSession) -> BalancesDocument:
        return balances_document(await read_balances(session, at=present()), minimums)

    document = run_in_session(ROLE, read)
    rows = chosen(
        document["carried"], "customer", "currency", "amount", "since", "contract_ended", "becomes"
    )
    show(
        document,
        json=json,
        table=lambda: rows_table(rows, title="Carried forward", empty="nothing is carried forward"),
    )
