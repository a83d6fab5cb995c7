"""Records of an input that are not sent: named on stderr as they are met, counted by reason."""

from collections import Counter
from typing import Final

from cli.console import note, printable
from schemas.errors import InvalidRecord

REFUSALS_SHOWN: Final = 20


class Refusals:
    """Counts all, names the first of them."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.first: list[tuple[str, InvalidRecord]] = []

    @property
    def count(self) -> int:
        return self.reasons.total()

    def add(self, place: str, error: InvalidRecord) -> None:
        """`place` is for a person, as in `chats.jsonl:12`."""
        self.reasons[error.reason] += 1
        if len(self.first) < REFUSALS_SHOWN:
            self.first.append((place, error))
            note(printable(f"{place}: {error.reason}: {error.detail}"), style="red")

    def note_rest(self) -> None:
        """Say how many were not named; at the end."""
        rest = self.count - len(self.first)
        if rest:
            note(f"and {rest:,} more", style="red")
