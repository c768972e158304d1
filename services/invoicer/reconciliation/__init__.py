"""Reconciliation of a month: log, events, line items, invoices and Stripe, side by side.

`gather` reads the figures, `classify` compares them (pure), `report` writes them out.
"""
