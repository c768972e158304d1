"""Alembic's entry: runs the migrations on the connection that `migrate.py` hands over."""

from typing import Any

from alembic import context

from shared import tables

_OWN_TABLES = frozenset(tables.metadata.tables)


def _is_ours(_obj: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
    """Leave out what the models do not describe: the log of the migrations itself."""
    return kind != "table" or name in _OWN_TABLES


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    include_object=_is_ours,
)
with context.begin_transaction():
    context.run_migrations()
