"""Memory written straight into the tables, and an embedder whose meanings a test can see."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.memory import Embedding, Usage
from storage.tables import events, gists, profiles, users

DIMENSION = 256
SAID = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)

# Words of one line mean the same.
MEANINGS = (
    "cat dog puppy pet pets 猫 狗",
    "work job office career 工作",
    "tea coffee drink 茶",
    "oslo norway city 北京",
)


def meaning(text: str) -> Embedding:
    """A unit vector of what the words mean; zeros for words without a meaning."""
    vector = np.zeros(DIMENSION, dtype=np.float32)
    for axis, words in enumerate(MEANINGS):
        vector[axis] = sum(word in text.lower() for word in words.split())
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm else vector


class Meanings:
    """An Embedder that remembers what it was asked; `fault` is raised instead of an answer."""

    dimension = DIMENSION

    def __init__(self) -> None:
        self.calls: list[tuple[Sequence[str], bool]] = []
        self.fault: BaseException | None = None

    async def embed(self, texts: Sequence[str], *, are_questions: bool = False) -> tuple[NDArray[np.float32], Usage]:
        self.calls.append((list(texts), are_questions))
        if self.fault is not None:
            raise self.fault
        usage = Usage(embedding_calls=1, embedding_tokens=10 * len(texts)).of_model("meanings")
        return np.stack([meaning(text) for text in texts]), usage

    async def close(self) -> None:
        """Nothing is open."""


class Memories:
    """Writes rows of one user, embedded unless `is_embedded` is false."""

    def __init__(
        self, engine: AsyncEngine, user_id: str = "ann", project_id: str = "default", is_embedded: bool = True
    ) -> None:
        self._engine = engine
        self._owner = {"project_id": project_id, "user_id": user_id}
        self._is_embedded = is_embedded

    async def event(
        self,
        summary: str | None,
        *lines: str,
        tags: Sequence[tuple[str, str]] = (),
        said: datetime = SAID,
        recorded: datetime = SAID,
        sessions: Sequence[str] = (),
    ) -> UUID:
        """An event with a gist a line, all said at one time and in the same sessions."""
        event_id = uuid4()
        times = {"occurred_at": said, "recorded_at": recorded, "session_ids": list(sessions)}
        await self._user()
        async with self._engine.begin() as connection:
            await connection.execute(
                insert(events).values(
                    **self._owner,
                    **times,
                    event_id=event_id,
                    summary=summary,
                    tags=[{"tag": tag, "value": value} for tag, value in tags],
                    profile_delta=[],
                    revision=1,
                    embedding=self._embedding(summary or ""),
                )
            )
            for number, line in enumerate(lines):
                await connection.execute(
                    insert(gists).values(
                        **self._owner,
                        **times,
                        gist_id=uuid4(),
                        event_id=event_id,
                        number=number,
                        text=line,
                        embedding=self._embedding(line),
                    )
                )
        return event_id

    async def entry(self, topic: str, sub_topic: str, content: str, said: datetime = SAID) -> UUID:
        """An entry of the profile."""
        profile_id = uuid4()
        await self._user()
        times = dict.fromkeys(("occurred_at", "recorded_at", "created_at", "updated_at"), said)
        async with self._engine.begin() as connection:
            await connection.execute(
                insert(profiles).values(
                    **self._owner,
                    **times,
                    profile_id=profile_id,
                    topic=topic,
                    sub_topic=sub_topic,
                    content=content,
                    embedding=self._embedding(content),
                )
            )
        return profile_id

    async def _user(self) -> None:
        values: dict[str, Any] = {**self._owner, "revision": 1, "seq": 0, "created_at": SAID, "updated_at": SAID}
        async with self._engine.begin() as connection:
            await connection.execute(upsert(users).values(values).on_conflict_do_nothing())

    def _embedding(self, text: str) -> Embedding | None:
        vector = meaning(text)
        return vector if self._is_embedded and vector.any() else None
