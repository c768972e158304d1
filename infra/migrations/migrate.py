"""Brings a database to the newest migration; safe to repeat and to run twice at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from shared.database import open_engine
from shared.settings import Settings

_MIGRATION_LOCK = 7_203_000
_HERE = Path(__file__).parent


async def migrate(settings: Settings) -> str:
    """Apply what is missing; give the revision that the database is at afterwards."""
    engine = open_engine(settings)
    try:
        async with engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK}
            )
            await connection.run_sync(_upgrade)
            result = await connection.execute(text("SELECT version_num FROM alembic_version"))
            return str(result.scalar_one())
    finally:
        await engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """Make Alembic's configuration for an open connection."""
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    command.upgrade(alembic_config(connection), "head")
