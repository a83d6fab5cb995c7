"""Memory as lines of a prompt, in the form that Memobase's users know."""

import re
from datetime import UTC, datetime
from typing import Final

# As Memobase ends the lines of its events.
_SAYS_WHEN: Final = re.compile(r"\[mention [^\]]+\]\s*(//[^/]*)?$")


def profile_line(topic: str, sub_topic: str, content: str) -> str:
    """What the filter counts; a context puts `- ` before it."""
    return f"{topic}::{sub_topic}: {content}"


def gist_line(text: str, occurred_at: datetime) -> str:
    """A line of a list with the day on which it happened, in UTC; one that came from Memobase says it itself."""
    bullet = "" if text.startswith("- ") else "- "
    if "[mention " in text and _SAYS_WHEN.search(text):
        return f"{bullet}{text}"
    day = occurred_at.astimezone(UTC)
    # strftime takes longer than all the rest.
    return f"{bullet}{text} [mention {day.year:04}/{day.month:02}/{day.day:02}] // event"
