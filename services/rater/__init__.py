"""The rater: turns events into line items, exactly once and to the last decimal."""
