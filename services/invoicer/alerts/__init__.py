"""Alerts: thresholds on what a customer's month comes to, and sources that fell silent."""
