"""The commands that tell what became of events, and how their sources are."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from services.ingest.whereabouts.documents import Document, event_document, sources_document
from services.ingest.whereabouts.reading import find_event
from services.ingest.whereabouts.source_reading import MONTH, read_sources
from shared.console import JsonOption, rows_table, run_in_session, show
from shared.database import Role
from shared.settings import Settings

_ROLE: Role = "tallybook_ingest"
_LISTS = ("line_items", "conflicts", "dead_letters")


def show_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="the event's source")],
    event_id: Annotated[str, typer.Argument(metavar="ID", help="the event's id")],
    json: JsonOption = False,
) -> None:
    """Show where an event is: on its way, rated, invoiced, in conflict, a dead letter, unknown."""
    topic = Settings().usage_topic
    found = run_in_session(
        _ROLE, lambda session: find_event(session, source, event_id, topic=topic)
    )
    document = event_document(found)
    show(document, json=json, table=lambda: rows_table(_rows(document), title="Event", empty=""))


def _rows(document: Document) -> list[Document]:
    """Lay an event out for a person: what is there, and the lists one entry a row."""
    rows = [
        {"what": name, "value": value}
        for name, value in document.items()
        if name not in _LISTS and value is not None
    ]
    for name in _LISTS:
        for one in document[name]:
            known = (f"{key} {value}" for key, value in one.items() if value is not None)
            rows.append({"what": name.removesuffix("s"), "value": ", ".join(known)})
    return rows


def sources_command(json: JsonOption = False) -> None:
    """List the sources of events: what arrived, what was not taken, and where one is silent."""
    now = datetime.now(UTC)
    found = run_in_session(_ROLE, lambda session: read_sources(session, now))
    document = sources_document(found, now, MONTH)
    rows = [
        {
            "source": one["source"],
            "last_event": one["last_event"],
            **one["events"],
            "duplicates": one["duplicates"],
            "rejected": sum(one["rejected"].values()),
            "dead_letters": sum(one["dead_letters"].values()),
            "open_conflicts": one["conflicts"]["open"],
            "gaps": len(one["gaps"]),
            "silent": {None: "", True: "yes", False: "no"}[one["silent"]],
        }
        for one in document["sources"]
    ]
    empty = "no events yet"
    show(document, json=json, table=lambda: rows_table(rows, title="Sources", empty=empty))
