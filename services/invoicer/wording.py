"""What stands on an invoice besides its lines: custom fields and a footer. Pure.

It is frozen with the lines, hashed with them, and read back from Stripe like them. A tax id is
a custom field, not a tax id of the customer at Stripe: there it would need a type, and could
change between freezing and finalizing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.invoicer.describing import grouped, price_text
from services.invoicer.token_costs import TokenCost, sums

CUSTOM_FIELD_LENGTH = 140
"""Characters of the longest value that Stripe takes in a custom field."""

FOOTER_LENGTH = 5000
"""Characters of the longest footer that Stripe takes."""

_ROOM_FOR_REST = 200


@dataclass(frozen=True, slots=True)
class About:
    """What is known of whom an invoice is for, besides what is due.

    `tokens` are those that the customer pays to Anthropic directly.
    """

    purchase_order: str | None = None
    tax_id: str | None = None
    tokens: Sequence[TokenCost] = ()


@dataclass(frozen=True, slots=True)
class Wording:
    """Custom fields, as name and value, and a footer."""

    custom_fields: tuple[tuple[str, str], ...] = ()
    footer: str | None = None


NO_WORDING = Wording()


def word(about: About, period: str, *, detail_sha256: str | None, details: int) -> Wording:
    """Say what there is to say; the hash is that of the detail file where lines are collapsed."""
    given = {"Purchase order": about.purchase_order, "Tax ID": about.tax_id}
    fields = tuple((name, value[:CUSTOM_FIELD_LENGTH]) for name, value in given.items() if value)
    parts = []
    if detail_sha256 is not None:
        parts.append(
            f"The lines stand for {details:,} lines of the detail file, whose"
            f" SHA-256 is {detail_sha256}."
        )
    if about.tokens:
        room = FOOTER_LENGTH - sum(len(part) + 1 for part in parts)
        parts.append(_token_text(about.tokens, period, room))
    return Wording(fields, "\n".join(parts) or None)


def _token_text(costs: Sequence[TokenCost], period: str, room: int) -> str:
    """Say by model what tokens cost; models for which there is no room are counted.

    The sum stands before them, and is that of all models.
    """
    totals = " and ".join(price_text(sum_, name) for name, sum_ in sorted(sums(costs).items()))
    text = (
        f"Paid directly to Anthropic for the tokens of {period}, and in no amount due here:"
        f" {totals or 'no price is known'}"
    )
    for number, cost in enumerate(costs):
        line = f"\n{_cost_text(cost)}"
        if len(text) + len(line) > room - _ROOM_FOR_REST:
            return f"{text}\nand {len(costs) - number:,} models more"
        text += line
    return text


def _cost_text(cost: TokenCost) -> str:
    price = "no price known" if cost.currency is None else price_text(cost.amount, cost.currency)
    model = " ".join(cost.model.split()) or "unknown model"
    tokens = f"{grouped(cost.input_tokens)} input, {grouped(cost.output_tokens)} output"
    return f"{model}: {price} ({tokens})"
