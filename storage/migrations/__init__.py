"""Alembic migrations; `storage.migrate.migrate` runs them."""
