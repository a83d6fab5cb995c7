"""What a model might answer to windows of a benchmark: so many facts in sum, half of them on slots that are taken."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid5

from schemas.memory import Profile, Slot
from schemas.profile_schema import DEFAULT_SLOTS
from tests.support.scripted_openai import Answer, Call

FACTS: Final = 150
RECORDS: Final = 1000
FILLED_SLOTS: Final = 60
SAID_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
NOBODY: Final = UUID(int=0)

# Slots that a model made beside the configured ones, as profiles of some age have them.
MADE: Final = ("favourite_places", "habits", "opinions", "travels")
MEMO: Final = "says that this has become more important since the move last spring"
CONTENT: Final = "has spoken of it twice: first in passing, then at some length with a friend"
GIST: Final = "spent the weekend with an old friend and talked about moving house"


def filled_profile() -> Profile:
    """All configured slots and more, up to 60, each with a memo of a dozen words."""
    names = [(topic, name) for topic, names in DEFAULT_SLOTS.items() for name in names]
    names += list(itertools.product(DEFAULT_SLOTS, MADE))
    slots = [
        Slot(uuid5(NOBODY, f"{topic}/{name}"), topic, name, CONTENT, SAID_AT) for topic, name in names[:FILLED_SLOTS]
    ]
    if len(slots) < FILLED_SLOTS:
        raise RuntimeError(f"there are only {len(slots)} slots to fill")
    return Profile(1, tuple(slots))


@dataclass(slots=True)
class Script:
    """Answers extract calls; `expect` is told how many records the next window holds. Other calls get the default."""

    facts: int = 0
    _due: float = 0.0
    _taken: Iterator[Slot] = field(default_factory=lambda: itertools.cycle(filled_profile().slots))

    def expect(self, records: int) -> None:
        self._due += FACTS * records / RECORDS

    def answer(self, call: Call) -> Answer:
        if call.kind != "extract":
            return None
        messages = len(re.findall(r"^\d+ \[", call.input, re.MULTILINE))
        count = int(self._due)
        self._due -= count
        facts = [self._fact(number, messages) for number in range(self.facts, self.facts + count)]
        self.facts += count
        events = [
            {"gist": f"{GIST} ({number})", "message_indices": [number % messages], "quote": None, "occurred_at": None}
            for number in range(count // 2)
        ]
        return {"facts": facts, "events": events, "summary": GIST}

    def _fact(self, number: int, messages: int) -> dict[str, Any]:
        slot = next(self._taken)
        name = slot.sub_topic if number % 2 else f"new_{number}"
        return {
            "topic": slot.topic,
            "sub_topic": name,
            "memo": f"{MEMO} ({number})",
            "message_indices": [number % messages],
            "quote": None,
        }
