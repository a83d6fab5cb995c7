"""Windows and an extractor for tests of the extraction agent."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.conversation import Message
from schemas.identity import content_hash, window_id
from schemas.memory import (
    Extraction,
    ExtractorIdentity,
    Fact,
    Gist,
    MemoryUpdate,
    Profile,
    SlotChange,
    Usage,
)
from schemas.profile_schema import ProfilePolicy
from schemas.records import Command
from schemas.windows import Position, Unit, Window, WindowCommand

START_MS = 1_795_000_000_000


def unit(blob_id: str, *texts: str, offset: int = 0, blob_type: str = "chat", tokens: int = 10) -> Unit:
    """A whole blob; `texts` are its messages, said by the user."""
    data: dict[str, Any] = {"messages": [{"role": "user", "content": text} for text in texts]}
    if blob_type == "image":
        data = {"url": "https://example.com/image.png"}
    elif blob_type != "chat":
        data = {"content": "".join(texts)}
    content = {"blob_type": blob_type, "blob_data": data}
    return Unit(
        blob_id=blob_id,
        content_hash=content_hash(content),
        token_count=tokens,
        occurred_at_ms=START_MS + offset,
        recorded_at_ms=START_MS + offset,
        position=Position(topic="chat-messages", partition=0, offset=offset, timestamp_ms=START_MS + offset),
        content=content,
    )


def window(*units: Unit, user_id: str = "u1", project_id: str = "default") -> Window:
    blob_type = units[0].content["blob_type"]
    return Window(
        window_id=window_id(project_id, user_id, [item.key for item in units]),
        project_id=project_id,
        user_id=user_id,
        blob_type=blob_type,
        reason="tokens",
        token_count=sum(item.token_count for item in units),
        units=units,
    )


def chat_window(blob_id: str, *texts: str, user_id: str = "u1", offset: int = 0) -> Window:
    return window(unit(blob_id, *(texts or (f"text of {blob_id}",)), offset=offset), user_id=user_id)


def command(name: str = "flush", user_id: str = "u1", offset: int = 0) -> WindowCommand:
    return WindowCommand(
        command=Command.model_validate({"command": name, "id": f"c{offset}", "user_id": user_id}),
        command_id=f"c{offset}",
        position=Position(topic="chat-messages", partition=0, offset=offset, timestamp_ms=START_MS + offset),
    )


def window_position(offset: int, partition: int = 0) -> Position:
    return Position(topic="windows", partition=partition, offset=offset, timestamp_ms=START_MS + offset)


Rule = Callable[[Sequence[Message]], Awaitable[None]]


async def accept(messages: Sequence[Message]) -> None:
    """Everything goes."""


class ScriptedExtractor:
    """One fact a message, under the topic `said`; `rule` may wait or raise before, `merge_rule` before a merge.

    `calls` are the texts of each call to `extract`, in order.
    """

    def __init__(self, rule: Rule = accept) -> None:
        self.rule = rule
        self.calls: list[list[str]] = []
        self.merges: list[Extraction] = []
        self.merge_rule: Callable[[Extraction, Profile], Awaitable[None]] | None = None

    def identity(self, policy: ProfilePolicy) -> ExtractorIdentity:
        return ExtractorIdentity(name="scripted", version="1", model="none", prompt_hash="0")

    async def extract(self, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> Extraction:
        self.calls.append([message.content for message in messages])
        await self.rule(messages)
        facts = tuple(
            Fact(
                topic="said",
                sub_topic=message.message_id,
                memo=message.content,
                message_ids=(message.message_id,),
                occurred_at=message.occurred_at,
            )
            for message in messages
        )
        gists = tuple(Gist(fact.memo, fact.message_ids, fact.occurred_at) for fact in facts)
        return Extraction(facts, gists, None, (), datetime.now(UTC), usage=Usage(completions=1))

    async def merge(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MemoryUpdate:
        self.merges.append(extraction)
        if self.merge_rule is not None:
            await self.merge_rule(extraction, profile)
        changes = tuple(
            SlotChange("c", fact.topic, fact.sub_topic, None, fact.memo, "new", fact.message_ids, fact.occurred_at)
            for fact in extraction.facts
            if profile.slot(fact.topic, fact.sub_topic) is None
        )
        return MemoryUpdate(changes, extraction, extraction.usage + Usage(completions=1))

    async def close(self) -> None:
        """Nothing to close."""
