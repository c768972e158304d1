"""The commands for who is told what: endpoints and deliveries."""

from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer.arguments import ROLE, chosen, with_engine
from services.invoicer.notifying import deliveries, documents, endpoints
from services.invoicer.notifying.answers import Answer
from services.invoicer.notifying.courier import Courier
from services.invoicer.notifying.notices import TYPES
from services.invoicer.notifying.trying import try_endpoint
from shared.audit import login_name
from shared.clock import present
from shared.console import JsonOption, out, rows_table, run_in_session, show
from shared.errors import WrongUseError
from shared.settings import Settings
from shared.tables.notices import NoticeEndpoint

webhooks = typer.Typer(help="Who is told what happens, by webhooks and e-mail.")

EndpointId = Annotated[str, typer.Argument(metavar="ID", help="an endpoint's id")]
_STATES = ("waiting", "delivered", "dead")


@webhooks.command("add")
def add_command(
    url: Annotated[str, typer.Argument(metavar="URL", help="https://HOST/PATH or mailto:MAILBOX")],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help=f"one of {', '.join(TYPES)}; repeat; without: all, for e-mail alerts only",
        ),
    ] = None,
    description: Annotated[str, typer.Option(help="what it is, for people")] = "",
    json: JsonOption = False,
) -> None:
    """Tell an endpoint what happens from now on. Its secret is shown now and never again."""

    async def added(settings: Settings, engine: AsyncEngine) -> NoticeEndpoint:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            return await endpoints.add_endpoint(
                session,
                settings,
                url,
                types=kind or (),
                description=description,
                actor=login_name(),
                now=present(),
            )

    endpoint = with_engine(added)
    _show_secret(endpoint, f"{endpoint.id} is told of {_types(endpoint.types)}", json=json)


@webhooks.command("list")
def list_command(json: JsonOption = False) -> None:
    """List the endpoints; never their secrets."""
    found = [documents.endpoint_document(e) for e in run_in_session(ROLE, endpoints.list_endpoints)]
    rows = [
        {
            "id": one["id"],
            "url": one["url"],
            "types": _types(one["types"]),
            "state": one["state"],
            "because": one["disabled_because"],
            "description": one["description"],
        }
        for one in found
    ]
    empty = "nobody is told anything yet; see: webhooks add"
    show(
        {"endpoints": found},
        json=json,
        table=lambda: rows_table(rows, title="Endpoints", empty=empty),
    )


@webhooks.command("remove")
def remove_command(endpoint_id: EndpointId, json: JsonOption = False) -> None:
    """Tell an endpoint nothing more; what waits for it is given up."""
    endpoint = run_in_session(
        ROLE,
        lambda session: endpoints.remove_endpoint(
            session, endpoint_id, actor=login_name(), now=present()
        ),
    )
    _show_state(endpoint, json=json)


@webhooks.command("enable")
def enable_command(endpoint_id: EndpointId, json: JsonOption = False) -> None:
    """Tell an endpoint again, also what waited meanwhile; safe to repeat."""
    endpoint = run_in_session(
        ROLE,
        lambda session: endpoints.enable_endpoint(
            session, endpoint_id, actor=login_name(), now=present()
        ),
    )
    _show_state(endpoint, json=json)


@webhooks.command("disable")
def disable_command(
    endpoint_id: EndpointId,
    why: Annotated[str, typer.Option(help="why, for the audit trail")],
    json: JsonOption = False,
) -> None:
    """Leave an endpoint alone until it is enabled; what it is to be told waits."""
    endpoint = run_in_session(
        ROLE,
        lambda session: endpoints.disable_endpoint(
            session, endpoint_id, why=why, actor=login_name(), now=present()
        ),
    )
    _show_state(endpoint, json=json)


@webhooks.command("rotate")
def rotate_command(endpoint_id: EndpointId, json: JsonOption = False) -> None:
    """Give an endpoint a new secret, shown only now; for 24 hours the former one signs too."""
    endpoint = run_in_session(
        ROLE,
        lambda session: endpoints.rotate_secret(
            session, endpoint_id, actor=login_name(), now=present()
        ),
    )
    _show_secret(endpoint, f"{endpoint_id} has a new secret", json=json)


@webhooks.command("test")
def try_command(endpoint_id: EndpointId, json: JsonOption = False) -> None:
    """Send an example to an endpoint now. Exit 1 if it was not taken."""

    async def tried(settings: Settings, engine: AsyncEngine) -> Answer:
        async with (
            AsyncSession(engine, expire_on_commit=False) as session,
            Courier(settings) as courier,
        ):
            return await try_endpoint(session, courier, endpoint_id, present())

    answer = with_engine(tried)
    document = documents.tested_document(endpoint_id, answer)
    words = "was taken" if answer.taken else "was NOT taken"
    show(document, json=json, table=lambda: f"the example {words}: {answer.words}")
    if not answer.taken:
        raise typer.Exit(1)


@webhooks.command("deliveries")
def deliveries_command(
    state: Annotated[
        str | None, typer.Option(help=f"only those in it: {', '.join(_STATES)}")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="ID", help="only those to this endpoint")
    ] = None,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="ID", min=0, max=2**63 - 1, help="older than this one"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List what was told, is to be told, and was given up, the newest first."""
    if state not in (None, *_STATES):
        raise WrongUseError(f"{state!r} is no state; use one of {', '.join(_STATES)}")
    found = run_in_session(
        ROLE,
        lambda session: deliveries.list_deliveries(
            session, state=state, endpoint=endpoint, before=before
        ),
    )
    document = documents.deliveries_document(found)
    is_part = (state, endpoint, before) != (None, None, None)
    empty = "there are no such deliveries" if is_part else "nothing was told yet"
    show(document, json=json, table=lambda: _deliveries_table(document, empty))


@webhooks.command("retry")
def retry_command(
    delivery_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", min=0, max=2**63 - 1, help="a delivery's id")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="ID", help="all that was given up for this endpoint")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Let what was given up be due again: one delivery, or all of an endpoint."""
    if (delivery_id is None) == (endpoint is None):
        raise WrongUseError("name one delivery, or an endpoint with --endpoint")

    async def retried(session: AsyncSession) -> int:
        if delivery_id is not None:
            await deliveries.retry_delivery(session, delivery_id, present())
            return 1
        assert endpoint is not None
        await endpoints.get_endpoint(session, endpoint)
        return await deliveries.retry_dead(session, endpoint, present())

    count = run_in_session(ROLE, retried)
    show({"retried": count}, json=json, table=lambda: f"due again: {count}")


def _show_secret(endpoint: NoticeEndpoint, text: str, *, json: bool) -> None:
    if json:
        show(documents.new_secret_document(endpoint), json=True, table=str)
    elif endpoint.secret is None:
        out.print(text, markup=False, highlight=False)
    else:
        out.print(f"{text}; the secret is shown only now:", markup=False, highlight=False)
        out.print(endpoint.secret, markup=False, highlight=False)


def _show_state(endpoint: NoticeEndpoint, *, json: bool) -> None:
    document = documents.endpoint_document(endpoint)
    show(document, json=json, table=lambda: f"{endpoint.id} is {endpoint.state}")


def _types(types: list[str]) -> str:
    return ", ".join(types) or "all"


def _deliveries_table(document: documents.DeliveriesDocument, empty: str) -> Table | str:
    columns = ("id", "type", "subject", "endpoint", "state", "attempts", "next_attempt_at",
               "last_answer")  # fmt: skip
    rows = chosen(document["deliveries"], *columns)
    title = "Deliveries, the newest first"
    if document["more_before"] is not None:
        title += f"; older ones: webhooks deliveries --before {document['more_before']}"
    return rows_table(rows, title=title, empty=empty)
