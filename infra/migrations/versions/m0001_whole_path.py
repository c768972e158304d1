"""The tables, roles and grants of the whole path."""

from pathlib import Path
from typing import Any

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply: the statements stand in the SQL file beside this one."""
    statements = Path(__file__).with_name("0001_whole_path.sql").read_text(encoding="utf-8")
    connection: Any = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda asyncpg_connection: asyncpg_connection.execute(statements))


def downgrade() -> None:
    """Refuse: the books cannot be taken back."""
    raise RuntimeError("the first migration cannot be taken back; drop the database instead")
