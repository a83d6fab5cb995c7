"""Integration tests talk to a real broker and a real database (tests/conftest.py chooses which)."""
