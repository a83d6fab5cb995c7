"""Backfill from files: what `memostream ingest` does."""
