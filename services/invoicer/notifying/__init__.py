"""Tells others what happened: notices, put down with what they tell of, delivered afterwards."""
