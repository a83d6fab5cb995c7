"""Raises the revisions of a restored database above those that `profiles` holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import orjson

from cli.batching import batched
from cli.databases import open_database
from cli.scanning import topic_scanner
from schemas.changes import ProfileState
from schemas.settings import Settings
from storage.errors import translated
from storage.revisions import UserKey, raise_revisions
from streams.topics import Topics

BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Raised:
    """Users on `profiles`, and how many of them had no higher revision here."""

    published: int
    raised: int


async def raise_above_published(settings: Settings) -> Raised:
    """Bring every user's revision up to the published one, so that the next change is above it. Twice is as once.

    It holds a revision for each user of `profiles` in memory. Raises ConfigurationError if there is no such topic, and
    RetryLater if the broker or Postgres is away.
    """
    raised = 0
    async with open_database(settings.storage) as engine:
        published = await _published(settings)
        with translated("raising revisions"):
            for users in batched(sorted(published), BATCH):
                async with engine.begin() as connection:
                    some = {user: published[user] for user in users}
                    raised += await raise_revisions(connection, some, datetime.now(UTC))
    return Raised(len(published), raised)


async def _published(settings: Settings) -> Mapping[UserKey, int]:
    topic = Topics(settings.kafka.topic_prefix).profiles
    published: dict[UserKey, int] = {}
    async with topic_scanner(settings.kafka) as scanner:
        first, end = await scanner.bounds(topic)
        async for records in scanner.scan(topic, first, end):
            for record in records:
                project_id, _, user_id = record.key.decode().partition("/")
                user = (project_id, user_id)
                if record.value is None:
                    # Forgotten: nothing may name the user again.
                    published.pop(user, None)
                    continue
                revision = ProfileState.model_validate(orjson.loads(record.value)).revision
                published[user] = max(revision, published.get(user, 0))
    return published
