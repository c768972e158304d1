"""Sends files of events to ingest, and goes on where it was after an interruption."""
