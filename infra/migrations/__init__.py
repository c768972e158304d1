"""Alembic: what brings a database to the tables and roles that the code needs."""
