"""Memory as lines of a prompt, in the form that Memobase's users know."""

from datetime import UTC, datetime


def profile_line(topic: str, sub_topic: str, content: str) -> str:
    """What the filter counts; a context puts `- ` before it."""
    return f"{topic}::{sub_topic}: {content}"


def gist_line(text: str, occurred_at: datetime) -> str:
    """A line of a list with the day on which it happened, in UTC."""
    bullet = "" if text.startswith("- ") else "- "
    day = occurred_at.astimezone(UTC)
    # strftime takes longer than all the rest.
    return f"{bullet}{text} [mention {day.year:04}/{day.month:02}/{day.day:02}] // event"
