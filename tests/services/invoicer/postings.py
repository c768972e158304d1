"""Line items to be posted, at a price of one a unit. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """A line item; each band becomes a line of the invoice."""

    amount: str
    band: str = "all"
    currency: str = "USD"


def bands(count: int) -> list[Item]:
    """Make so many line items of so many bands, of 1.00, 2.00, and so on."""
    return [Item(str(number), f"band {number:03d}") for number in range(1, count + 1)]


def total_minor(items: list[Item]) -> int:
    """Add line items of whole amounts up, in cents."""
    return sum(int(item.amount) for item in items) * 100
