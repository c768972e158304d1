"""The HTTP twin of the command: what was carried forward and waits."""

from fastapi import APIRouter, Request

from services.invoicer.carried.documents import BalancesDocument, balances_document
from services.invoicer.carried.reading import read_balances
from services.invoicer.carrying import Minimums
from services.invoicer.routes import Finance, Session
from shared.clock import present

router = APIRouter(prefix="/v1", tags=["invoicer"])


@router.get("/carried")
async def show_carried(_key: Finance, session: Session, request: Request) -> BalancesDocument:
    """Give amounts carried forward that are on no invoice yet, and what becomes of them."""
    minimums = Minimums.read(request.app.state.settings.invoice_minimums)
    return balances_document(await read_balances(session, at=present()), minimums)
