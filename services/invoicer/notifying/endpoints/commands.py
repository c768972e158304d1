"""The commands for endpoints."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer.arguments import ROLE, with_engine
from services.invoicer.notifying.endpoints import documents, store
from services.invoicer.notifying.endpoints.trying import try_endpoint
from services.invoicer.notifying.outbox.notices import TYPES
from services.invoicer.notifying.transport.answers import Answer
from services.invoicer.notifying.transport.courier import Courier
from shared.audit import login_name
from shared.clock import present
from shared.console import JsonOption, out, rows_table, run_in_session, show
from shared.settings import Settings
from shared.tables.notices import NoticeEndpoint

endpoints = typer.Typer()

EndpointId = Annotated[str, typer.Argument(metavar="ID", help="an endpoint's id")]


@endpoints.command("add")
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
            return await store.add_endpoint(
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


@endpoints.command("list")
def list_command(json: JsonOption = False) -> None:
    """List the endpoints; never their secrets."""
    found = [documents.endpoint_document(e) for e in run_in_session(ROLE, store.list_endpoints)]
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


@endpoints.command("remove")
def remove_command(endpoint_id: EndpointId, json: JsonOption = False) -> None:
    """Tell an endpoint nothing more; what waits for it is given up."""
    _show_state(_changed(store.remove_endpoint, endpoint_id), json=json)


@endpoints.command("enable")
def enable_command(endpoint_id: EndpointId, json: JsonOption = False) -> None:
    """Tell an endpoint again, also what waited meanwhile; safe to repeat."""
    _show_state(_changed(store.enable_endpoint, endpoint_id), json=json)


@endpoints.command("disable")
def disable_command(
    endpoint_id: EndpointId,
    why: Annotated[str, typer.Option(help="why, for the audit trail")],
    json: JsonOption = False,
) -> None:
    """Leave an endpoint alone until it is enabled; what it is to be told waits."""
    _show_state(_changed(partial(store.disable_endpoint, why=why), endpoint_id), json=json)


@endpoints.command("rotate")
def rotate_command(endpoint_id: EndpointId, json: JsonOption = False) -> None:
    """Give an endpoint a new secret, shown only now; for 24 hours the former one signs too."""
    endpoint = _changed(store.rotate_secret, endpoint_id)
    _show_secret(endpoint, f"{endpoint_id} has a new secret", json=json)


@endpoints.command("test")
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


def _changed(
    act: Callable[..., Coroutine[Any, Any, NoticeEndpoint]], endpoint_id: str
) -> NoticeEndpoint:
    """Have an act on an endpoint done now, in the name of who is logged in."""
    return run_in_session(
        ROLE, lambda session: act(session, endpoint_id, actor=login_name(), now=present())
    )


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
