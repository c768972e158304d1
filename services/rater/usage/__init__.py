"""A customer's month as it stands: usage, its split, line items and token costs."""
