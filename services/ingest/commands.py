"""The commands for API keys."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from services.ingest.keys import create_key, describe_key, list_keys, revoke_key
from shared.audit import login_name
from shared.console import JsonOption, out, rows_table, run_in_session, show
from shared.database import Role
from shared.keys import SCOPES, SEND_EVENTS
from shared.moments import parse_moment

keys = typer.Typer(help="API keys of producers and of finance.")

_ROLE: Role = "tallybook_ingest"


@keys.command("create")
def keys_create(
    scope: Annotated[
        list[str] | None, typer.Option(help=f"one of {', '.join(SCOPES)}; repeat")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="an event source it is for; repeat; without: any")
    ] = None,
    customer: Annotated[
        list[str] | None, typer.Option(help="a customer it is for; repeat; without: any")
    ] = None,
    event_type: Annotated[
        list[str] | None, typer.Option(help="an event type it may send; repeat; without: any")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="when it expires; without: never")] = None,
    events_per_second: Annotated[
        int | None,
        typer.Option(
            help="most events a second, to one ingest process; without:"
            " TALLYBOOK_KEY_EVENTS_PER_SECOND"
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a key. Its secret is shown now and never again."""
    expires_at = parse_moment(expires) if expires else None
    key, secret = run_in_session(
        _ROLE,
        lambda session: create_key(
            session,
            scopes=scope or (SEND_EVENTS,),
            sources=source or (),
            customers=customer or (),
            event_types=event_type or (),
            expires_at=expires_at,
            events_per_second=events_per_second,
            actor=login_name(),
            now=datetime.now(UTC),
        ),
    )
    document = {**describe_key(key), "secret": secret}
    if json:
        show(document, json=True, table=str)
        return
    out.print(f"{key.id}: {', '.join(key.scopes)}; the secret is shown only now:")
    out.print(secret, highlight=False)


@keys.command("list")
def keys_list(json: JsonOption = False) -> None:
    """List all keys, revoked ones too, with their last use; never their secrets."""
    rows = [describe_key(key) for key in run_in_session(_ROLE, list_keys)]
    empty = "no keys yet; see: keys create"
    show({"keys": rows}, json=json, table=lambda: rows_table(rows, title="Keys", empty=empty))


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="the key's id, not its secret")],
    json: JsonOption = False,
) -> None:
    """Take a key out of force, everywhere within 5 seconds."""
    key = run_in_session(
        _ROLE,
        lambda session: revoke_key(session, key_id, actor=login_name(), now=datetime.now(UTC)),
    )
    show(describe_key(key), json=json, table=lambda: f"{key_id} is revoked")
