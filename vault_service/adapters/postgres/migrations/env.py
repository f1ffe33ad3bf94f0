"""Alembic's entry: runs the migrations on the connection that ``migrate.py`` hands over."""

from alembic import context

from vault_service.adapters.postgres.report_tables import report_runs
from vault_service.adapters.postgres.schema import SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    # That of all tables: those of reports join the others.
    target_metadata=report_runs.metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
