"""Alembic's entry point: runs on the connection that `migrate` hands over, inside its transaction."""

from alembic import context

from storage.tables import users

context.configure(
    connection=context.config.attributes["connection"], target_metadata=users.metadata, compare_server_default=False
)
with context.begin_transaction():
    context.run_migrations()
