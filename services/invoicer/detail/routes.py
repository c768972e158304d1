"""The HTTP twin of the command: an invoice's detail file, as JSON or CSV."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from services.invoicer.detail.reading import DetailDocument, read_detail
from services.invoicer.routes import Finance, Session

router = APIRouter(prefix="/v1", tags=["invoicer"])


@router.get(
    "/invoices/{invoice_id}/detail",
    response_model=DetailDocument,
    responses={200: {"content": {"text/csv": {}}}},
)
async def show_detail(
    _key: Finance, invoice_id: str, session: Session, request: Request
) -> Response:
    """Give what each line is made of, in exact amounts; a CSV file where that is asked for."""
    found = await read_detail(session, invoice_id)
    if "text/csv" in request.headers.get("accept", ""):
        name = f'attachment; filename="{found.document["invoice"]}.csv"'
        return Response(found.text, media_type="text/csv", headers={"Content-Disposition": name})
    return JSONResponse(found.document)
