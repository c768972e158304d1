"""The tables as SQLModel classes, one file for each service that owns and alone writes them.

The migrations make the tables; a test holds the two together.
"""

from sqlmodel import SQLModel

from shared.tables import alerts, everyone, ingest, invoicer, notices, rater

metadata = SQLModel.metadata

__all__ = ["alerts", "everyone", "ingest", "invoicer", "metadata", "notices", "rater"]
