"""Exports: a month's usage, events, line items and invoices as files for others to work with."""
