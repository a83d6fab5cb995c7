"""Entries and gists for tests of what is read."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from storage.recall import Entry, RecentGist

MONDAY = datetime(2026, 11, 16, 9, 30, tzinfo=UTC)
_NAMESPACE = UUID("6a1f7e0e-8f3c-4c1b-9b0e-3d7a4f0f2c11")


def entry(topic: str, sub_topic: str, content: str, minute: int = 0) -> Entry:
    """Updated so many minutes after the beginning."""
    moment = MONDAY + timedelta(minutes=minute)
    return Entry(uuid5(_NAMESPACE, f"{topic}/{sub_topic}"), topic, sub_topic, content, 0, moment, moment)


def gist(text: str, occurred_at: datetime = MONDAY) -> RecentGist:
    return RecentGist(uuid5(_NAMESPACE, text), uuid5(_NAMESPACE, "event"), text, occurred_at, MONDAY)


def words(text: str) -> int:
    """A counter that is easy to follow: a token a word."""
    return len(text.split())
