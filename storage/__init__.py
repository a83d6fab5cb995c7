"""Postgres: tables, migrations, the transactions that write memory, and the outbox."""
