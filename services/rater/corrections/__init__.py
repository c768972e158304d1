"""Corrections: events that are taken back, and months that are rated again from their events."""
