"""Writes the reference pages that follow from the code: settings, commands and exports.

``python -m tests.house.reference`` writes them anew; a test tells when they are behind.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

from services.commands import command_line
from shared.settings import Settings
from tests.house.exports_page import exports_page
from tests.house.repository import ROOT

_SETTINGS_HEAD = """# Settings

Every setting is an environment variable, or a line in a file named `.env` in the working
directory; the environment goes first. `tallybook settings` lists them with the value in force
and where it comes from, secrets masked. One variable more, `TALLYBOOK_CACHE_DIR`, names the
directory in which the embedded stack keeps what it downloaded once; without it, that is
`tallybook` in the user's cache directory. [Traces](../how-to/trace-events.md) have OpenTelemetry's
standard variables, `OTEL_*`, which are read from the environment only.

| variable | meaning | default |
|---|---|---|
"""

_COMMANDS_HEAD = """# Commands

Each command explains itself with `--help`. Those with `--json` write one JSON document to
standard output and nothing else there; progress and logs go to standard error. Money and
quantities in it are decimal strings, times are RFC 3339 in UTC.

Exit status: 0 fine; 1 the answer is bad news (a difference, an invalid file, a failed send),
or what was asked for cannot be (an unknown customer, a negative threshold); 2 wrong use of the
command, or no connection.

Where commands find database, Kafka and Stripe is said by the [settings](settings.md); for an
installation that `tallybook up` runs, the file `environment` in its data directory sets them.
"""


def settings_page() -> str:
    """Write the page of all settings."""
    return _SETTINGS_HEAD + "".join(
        _settings_row(f"TALLYBOOK_{name.upper()}", field)
        for name, field in Settings.model_fields.items()
    )


def _settings_row(variable: str, field: FieldInfo) -> str:
    return f"| `{variable}` | {field.description}{_bounds(field)} | {_default(field)} |\n"


def _bounds(field: FieldInfo) -> str:
    texts = []
    for bound in field.metadata:
        if (least := getattr(bound, "ge", None)) is not None:
            texts.append(f"at least {least}")
        if (above := getattr(bound, "gt", None)) is not None:
            texts.append(f"more than {above}")
        if (most := getattr(bound, "le", None)) is not None:
            texts.append(f"at most {most}")
    return f" ({', '.join(texts)})" if texts else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    assert value is not PydanticUndefined, "every setting has a default"
    if value is None:
        return "unset"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def commands_page() -> str:
    """Write the page of all commands."""
    return _COMMANDS_HEAD + "".join(_section(path, command) for path, command in commands())


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every command that does something, with its words after `tallybook`."""
    yield from _below((), get_command(command_line()))


def _below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from _below((*path, name), below)


def _section(path: tuple[str, ...], command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    json = ["[--json]"] if any(one.name == "json" for one in options) else []
    usage = " ".join(["tallybook", *path, *(_usage(one) for one in arguments), *json])
    text = f"\n## {' '.join(path)}\n\n`{usage}`\n\n{_one_paragraph(command.help)}\n"
    rows = [_row(one) for one in (*arguments, *options) if _row(one)]
    if rows:
        text += "\n| argument or option | meaning | without it |\n|---|---|---|\n" + "".join(rows)
    return text


def _usage(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper())
    return f"{name}…" if argument.nargs == -1 else name


def _row(parameter: Any) -> str:
    if parameter.name in ("help", "json"):
        return ""
    is_option = parameter.param_type_name == "option"
    name = parameter.opts[0] if is_option else _usage(parameter)
    if not parameter.help and not is_option:
        return ""
    if parameter.required:
        absent = "it must be given"
    elif parameter.default is None or parameter.default is False:
        absent = ""
    else:
        absent = f"`{parameter.default}`"
    return f"| `{name}` | {parameter.help or ''} | {absent} |\n"


def _one_paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


PAGES = {"settings": settings_page, "commands": commands_page, "exports": exports_page}


def page_path(name: str) -> Path:
    """Say where a page is kept."""
    return ROOT / "docs" / "reference" / f"{name}.md"


def main() -> None:
    """Write all pages anew."""
    for name, page in PAGES.items():
        page_path(name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
