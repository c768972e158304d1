"""What stands on an invoice besides its lines keeps to Stripe's limits, and is in no amount."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.payload import payload_sha256
from services.invoicer.token_costs import TokenCost, TokenPrice, Tokens, sums, token_costs
from services.invoicer.wording import About, Wording, word
from tests.services.invoicer.factories import draft, token_cost

SONNET = TokenPrice("USD", Decimal(3), Decimal(15))


def test_who_has_nothing_to_be_said_of_has_no_words() -> None:
    assert draft().wording == Wording()


def test_purchase_order_and_tax_id_are_custom_fields() -> None:
    assert draft(about=About("PO-7", "DE123")).wording.custom_fields == (
        ("Purchase order", "PO-7"),
        ("Tax ID", "DE123"),
    )
    assert draft(about=About(None, "DE123")).wording.custom_fields == (("Tax ID", "DE123"),)


def test_tokens_are_told_by_model_and_change_no_amount() -> None:
    costs = [token_cost(), token_cost("other", currency=None, amount=Decimal(0))]
    made = draft(about=About(tokens=costs))
    assert made.wording.footer == (
        "Paid directly to Anthropic for the tokens of 2026-10, and in no amount due here: $10.50\n"
        "claude-sonnet-4: $10.50 (1,000,000 input, 500,000 output)\n"
        "other: no price known (1,000,000 input, 500,000 output)"
    )
    assert made.lines == draft().lines
    assert made.total_minor == draft().total_minor


def test_words_are_part_of_what_is_hashed() -> None:
    said = [About(), About("PO-7"), About(tax_id="PO-7"), About(tokens=[token_cost()])]
    assert len({payload_sha256(draft(about=one)) for one in said}) == 4


@given(st.lists(st.text(max_size=300), max_size=60), st.booleans())
def test_a_footer_is_never_longer_than_stripe_takes(models: list[str], collapsed: bool) -> None:
    costs = [token_cost(model) for model in models]
    sha256 = "a" * 64 if collapsed else None
    footer = word(About(tokens=costs), "2026-10", detail_sha256=sha256, details=9999).footer
    assert footer is None or len(footer) <= 5000
    assert (footer is None) == (not models and not collapsed)


def test_models_for_which_there_is_no_room_are_counted_and_are_in_the_sum() -> None:
    costs = [token_cost(f"model {n} {'x' * 200}") for n in range(100)]
    footer = word(About(tokens=costs), "2026-10", detail_sha256=None, details=0).footer or ""
    first, *lines, last = footer.splitlines()
    assert first.endswith(": $1050.00")
    assert last == f"and {100 - len(lines)} models more"


def test_tokens_cost_what_their_model_cost_when_they_were_used() -> None:
    prices = {"sonnet@1": SONNET, "sonnet@2": TokenPrice("USD", Decimal(1), Decimal(1))}
    used = [
        Tokens("sonnet@1", True, Decimal(1_000_000)),
        Tokens("sonnet@1", False, Decimal(500_000)),
        Tokens("sonnet@2", True, Decimal(7)),
        Tokens("haiku@", True, Decimal(9)),
    ]
    assert token_costs(used, prices) == [
        TokenCost("haiku", Decimal(9), Decimal(0), None, Decimal(0)),
        TokenCost("sonnet", Decimal(1_000_007), Decimal(500_000), "USD", Decimal("10.500007")),
    ]
    assert sums(token_costs(used, prices)) == {"USD": Decimal("10.500007")}
