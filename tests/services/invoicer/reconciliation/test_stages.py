"""Whatever the figures are, each stage's differences make up its whole gap (I10)."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.reconciliation.classify import reconcile
from services.invoicer.reconciliation.credited import credits_stage
from services.invoicer.reconciliation.differences import add
from services.invoicer.reconciliation.figures import (
    ChargeFigures,
    Figures,
    LogPartition,
    MonthEvents,
    OurInvoice,
    OurLine,
    PostedFigures,
    StripeFigures,
    TheirCredit,
    TheirInvoice,
)

COUNTS = st.integers(0, 50)
AMOUNTS = st.decimals(-1000, 1000, places=12)
CENTS = st.integers(-500, 500)
CURRENCIES = st.sampled_from(["USD", "EUR"])
KEYS = st.sampled_from("abc")
STATES = st.sampled_from(
    ["frozen", "finalized", "paid", "skipped_zero", "carried_forward", "needs_review", "void"]
)
STATUSES = st.sampled_from(["draft", "open", "paid", "void"])


@st.composite
def partitions(draw: st.DrawFn) -> LogPartition:
    first, span, behind, hole, gaps = (draw(COUNTS) for _ in range(5))
    parts = [draw(COUNTS) for _ in range(4)]
    following = first + span + hole
    end = max(0, following + draw(st.integers(-20, 20)) + behind)
    records = sum(parts)
    return LogPartition(
        partition=0,
        end=end,
        next=following,
        first=first,
        span=records + gaps,
        records=records,
        stored=parts[0],
        duplicates=parts[1],
        conflicts=parts[2],
        dead_letters=parts[3],
        rows=draw(COUNTS),
    )


@st.composite
def invoices(draw: st.DrawFn, number: int) -> OurInvoice:
    lines = [
        OurLine(
            place,
            draw(KEYS),
            draw(CENTS),
            draw(AMOUNTS),
            draw(COUNTS),
            draw(AMOUNTS),
            draw(st.none() | CENTS),
        )
        for place in range(draw(st.integers(0, 3)))
    ]
    return OurInvoice(
        f"inv_{number}",
        "customer",
        draw(KEYS),
        draw(CURRENCIES),
        draw(STATES),
        draw(CENTS),
        "hash",
        draw(st.none() | st.sampled_from(["in_0", "in_1", "in_2"])),
        draw(COUNTS),
        draw(AMOUNTS),
        lines,
    )


def posted_with(draw: st.DrawFn, currency: str, ours: list[OurInvoice]) -> PostedFigures:
    """Make the line items that the invoices of a currency are made of, and some more."""
    mine = [one for one in ours if one.currency == currency]
    lines = [line for one in mine for line in one.lines]
    uninvoiced, misplaced, late, later = (draw(COUNTS) for _ in range(4))
    amounts = [draw(AMOUNTS) for _ in range(4)]
    items = sum(line.linked_items for line in lines) + sum(one.hidden_items for one in mine)
    items += uninvoiced + misplaced
    amount = add(
        [
            *(line.linked_amount for line in lines),
            *(one.hidden_amount for one in mine),
            *amounts[:2],
        ]
    )
    return PostedFigures(
        currency,
        items - late + later,
        add([amount, -amounts[2], amounts[3]]),
        later,
        amounts[3],
        items,
        amount,
        late,
        amounts[2],
        uninvoiced,
        amounts[0],
        [1],
        misplaced,
        amounts[1],
        [2],
    )


@st.composite
def figures(draw: st.DrawFn) -> Figures:
    ours = [draw(invoices(number)) for number in range(draw(st.integers(0, 3)))]
    theirs = [
        TheirInvoice(
            f"in_{number}",
            draw(st.none() | KEYS),
            draw(CURRENCIES),
            draw(STATUSES),
            draw(CENTS),
            draw(CENTS),
            draw(st.sampled_from(["hash", "other"])),
            [("0", "a", draw(CENTS))],
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    charges = [
        ChargeFigures(
            f"con_{number}",
            "executions",
            draw(CURRENCIES),
            draw(AMOUNTS),
            draw(AMOUNTS),
            draw(st.none() | AMOUNTS),
            draw(AMOUNTS),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 3)))
    ]
    billable, unpriced, voided, rest = (draw(COUNTS) for _ in range(4))
    return Figures(
        "2026-10",
        draw(st.booleans()),
        draw(st.sampled_from([None, "planned", "done", "failed"])),
        draw(st.lists(partitions(), max_size=3)),
        MonthEvents(
            billable + unpriced + voided + rest,
            billable,
            unpriced,
            ["bob"] if unpriced else [],
            voided,
            ["a 1"] if voided else [],
        ),
        charges,
        [posted_with(draw, currency, ours) for currency in ("USD", "EUR")],
        ours,
        StripeFigures(theirs, ["in_8"], ["in_9"]),
    )


@given(figures())
def test_the_differences_of_a_stage_add_up_to_its_gap_and_leave_nothing_unexplained(
    month: Figures,
) -> None:
    reconciled = reconcile(month)
    for stage in reconciled.stages:
        count = sum((one.count for one in stage.differences), Decimal(0))
        assert stage.count_from - stage.count_to == count
        amount = add(one.amount for one in stage.differences)
        assert add([stage.amount_from, -stage.amount_to]) == amount
    assert [one for one in reconciled.differences if one.name == "unexplained"] == []


@given(figures())
def test_consecutive_stages_of_money_take_up_where_the_one_before_ends(month: Figures) -> None:
    for currency in ("USD", "EUR"):
        stages = [one for one in reconcile(month).stages if one.currency == currency]
        _charges, posting, lines, rounding, held = stages
        assert posting.amount_to == lines.amount_from
        assert lines.amount_to == rounding.amount_from
        assert rounding.amount_to == held.amount_from


def test_a_void_credit_note_of_nobodys_stands_for_nothing() -> None:
    void = TheirCredit("cn_1", None, "USD", 20, is_void=True)
    assert credits_stage("USD", [], [void]) is None
