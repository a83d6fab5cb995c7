"""End-to-end tests run whole processes against real services (tests/conftest.py chooses which)."""
