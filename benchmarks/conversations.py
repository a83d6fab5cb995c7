"""Made-up chat records of the size that real ones have: two messages, about 40 tokens and 330 bytes each."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

START: Final = datetime(2026, 1, 5, 8, tzinfo=UTC)
PLACES: Final = ("Oslo", "Lisbon", "Nairobi", "Kyoto", "Quito", "Leeds")
THINGS: Final = ("chess", "gardening", "my two cats", "old radios", "long walks", "baking bread", "the piano")
SAID: Final = (
    "I have been thinking about {thing} a lot since I moved to {place}.",
    "Last weekend we went to {place} and talked about {thing} all day.",
    "My sister in {place} says that {thing} would be good for me.",
)
ANSWERED: Final = (
    "That sounds nice! How did you get into {thing}?",
    "I have never been to {place}. What is it like there?",
    "Tell me more about {thing}, I would love to hear it.",
)


def conversations(records: int, users: int, seed: int = 7, first_turn: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) pairs of `chat-messages`, users in turn, a minute between a user's records."""
    chance = random.Random(seed)
    for number in range(records):
        turn, user = divmod(first_turn * users + number, users)
        user_id = f"user-{user:04d}"
        words = {"place": chance.choice(PLACES), "thing": chance.choice(THINGS)}
        value = {
            "id": f"bench-{user:04d}-{turn:05d}",
            "user_id": user_id,
            "blob_type": "chat",
            "created_at": (START + timedelta(minutes=turn)).isoformat(),
            "session_id": f"session-{user:04d}-{turn // 20}",
            "blob_data": {
                "messages": [
                    {"role": "user", "content": chance.choice(SAID).format(**words)},
                    {"role": "assistant", "content": chance.choice(ANSWERED).format(**words)},
                ]
            },
        }
        yield user_id.encode(), orjson.dumps(value)
