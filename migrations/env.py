"""Run by Alembic for every command: on the connection, and in the transaction, of ``gateway.storage.upgrade``."""

from alembic import context

from gateway.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
