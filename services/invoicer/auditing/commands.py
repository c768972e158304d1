"""The command that lists the audit trail, or verifies that nothing in it was tampered with."""

from typing import Annotated, Any

import typer
from rich.table import Table

from services.invoicer.arguments import ROLE
from services.invoicer.auditing import documents
from services.invoicer.auditing.reading import list_entries, verify
from shared.console import JsonOption, as_json, rows_table, run_in_session, show
from shared.errors import WrongUseError
from shared.moments import parse_moment


def audit_command(
    since: Annotated[
        str | None, typer.Option("--since", metavar="T", help="from this moment on: 2026-10-16")
    ] = None,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="ID", min=0, max=2**63 - 1, help="older than this entry"),
    ] = None,
    verified: Annotated[
        bool, typer.Option("--verify", help="check that none was changed, removed or put in")
    ] = False,
    noted: Annotated[
        str | None,
        typer.Option("--noted", metavar="HASH", help="with --verify: a head noted before"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List who did what to money or access; `--verify` looks for tampering. Exit 1 if any."""
    if verified and (since is not None or before is not None):
        raise WrongUseError("--verify looks at all entries; leave out --since and --before")
    if noted is not None and not verified:
        raise WrongUseError("--noted goes with --verify")
    if verified:
        _verify(noted, json=json)
        return
    moment = None if since is None else parse_moment(since)
    found = run_in_session(ROLE, lambda session: list_entries(session, since=moment, before=before))
    document = documents.entries_document(found)
    show(document, json=json, table=lambda: _entries_table(document))


def _verify(noted: str | None, *, json: bool) -> None:
    known = documents.read_hash(noted)
    document = documents.verification_document(
        run_in_session(ROLE, lambda session: verify(session, known))
    )
    show(document, json=json, table=lambda: _verification_table(document))
    if not document["whole"]:
        raise typer.Exit(1)


def _entries_table(document: documents.EntriesDocument) -> Table | str:
    rows: list[dict[str, Any]] = [
        {
            "id": one["id"],
            "at": one["at"],
            "actor": one["actor"],
            "act": one["act"],
            "subject": one["subject"],
            "before": None if one["before"] is None else _in_one_line(one["before"]),
            "after": None if one["after"] is None else _in_one_line(one["after"]),
        }
        for one in document["entries"]
    ]
    title = "Audit, the newest first"
    if document["more_before"] is not None:
        title += f"; older ones: audit --before {document['more_before']}"
    return rows_table(rows, title=title, empty="no act is in the audit")


def _in_one_line(values: dict[str, Any]) -> str:
    return " ".join(as_json(values).split())


def _verification_table(document: documents.VerificationDocument) -> Table | str:
    head = document["head"]
    if document["whole"]:
        return (
            f"the audit is whole: {document['entries']} entries, head {head['position']}:"
            f" {head['hash']}"
        )
    title = f"The audit is NOT whole: {len(document['findings'])} findings"
    return rows_table(document["findings"], title=title, empty=title)
