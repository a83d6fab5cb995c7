"""Extract and merge around what a model cannot take: split what is too long, leave out the poison."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agents.faults import (
    CONTENT_REJECTED,
    TOO_LONG,
    Findings,
    Parked,
    halve,
    halve_text,
    join_extractions,
    rejoin,
)
from schemas.conversation import Message, conversation_of, messages_of
from schemas.errors import ContentRejected, ContextTooLong, EndpointRefused
from schemas.memory import Extraction, Fact, MemoryUpdate
from schemas.windows import MessageId, Unit

ExtractCall = Callable[[Sequence[Message]], Awaitable[Extraction]]
MergeCall = Callable[[Extraction], Awaitable[MemoryUpdate]]

# A model for which less than this is too long has no room for our prompts: no fault of the text.
SMALLEST_TEXT_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Merged:
    """An update, or the messages whose facts cannot be merged, for which reason."""

    update: MemoryUpdate
    refused: frozenset[MessageId] = frozenset()
    reason: str = ""
    detail: str = ""
    exception: str | None = None


async def extract_units(call: ExtractCall, units: Sequence[Unit]) -> Findings:
    """Extract the units in one call if that goes, else in as many as it takes, and join what they give.

    A piece that is rejected alone is parked. RetryLater passes through; EndpointRefused is raised when even a
    short text is too long.
    """
    return rejoin(units, await _extract(call, units))


async def merge_topics(call: MergeCall, extraction: Extraction) -> Merged:
    """Merge in one call if that goes, else topic by topic; a topic that cannot be merged alone is refused."""
    try:
        return Merged(await call(extraction))
    except (ContextTooLong, ContentRejected) as error:
        reason = TOO_LONG if isinstance(error, ContextTooLong) else CONTENT_REJECTED
        detail, exception = str(error), type(error).__name__
    topics = list(dict.fromkeys(fact.topic for fact in extraction.facts))
    if len(topics) < 2:
        return Merged(MemoryUpdate(), _message_ids(extraction), reason, detail, exception)
    first_topics = set(topics[: len(topics) // 2])
    # One half carries gists and summary, for they must not be embedded and kept twice.
    first = await merge_topics(call, replace(extraction, facts=_facts(extraction, first_topics)))
    second_facts = _facts(extraction, set(topics) - first_topics)
    second = await merge_topics(call, Extraction(facts=second_facts))
    update = MemoryUpdate(
        changes=first.update.changes + second.update.changes,
        extraction=replace(first.update.extraction, facts=extraction.facts),
        usage=first.update.usage + second.update.usage,
        dropped=first.update.dropped + second.update.dropped,
    )
    return Merged(
        update,
        first.refused | second.refused,
        first.reason or second.reason,
        first.detail or second.detail,
        first.exception or second.exception,
    )


async def _extract(call: ExtractCall, units: Sequence[Unit]) -> Findings:
    rejected: ContentRejected | None = None
    try:
        return Findings(await call(conversation_of(units)), tuple(units))
    except ContextTooLong:
        pass
    except ContentRejected as error:
        rejected = error
    if (halves := halve(units)) is not None:
        return await _extract(call, halves[0]) + await _extract(call, halves[1])
    unit = units[0]
    if rejected is None:
        try:
            return Findings(await _extract_halves(call, messages_of(unit)), (unit,))
        except ContentRejected as error:
            rejected = error
    return Findings(parked=(Parked(unit, CONTENT_REJECTED, str(rejected), exception=type(rejected).__name__),))


async def _extract_halves(call: ExtractCall, messages: Sequence[Message]) -> Extraction:
    parts = []
    for message in messages:
        if len(message.content) < SMALLEST_TEXT_CHARACTERS:
            raise EndpointRefused(
                f"the model finds {len(message.content)} characters too long: its context has no room "
                "for the prompts; choose a model with a larger one"
            )
        for half in halve_text(message):
            try:
                parts.append(await call([half]))
            except ContextTooLong:
                parts.append(await _extract_halves(call, [half]))
    return join_extractions(parts)


def _facts(extraction: Extraction, topics: set[str]) -> tuple[Fact, ...]:
    return tuple(fact for fact in extraction.facts if fact.topic in topics)


def _message_ids(extraction: Extraction) -> frozenset[MessageId]:
    sources = extraction.facts or extraction.gists
    return frozenset(identifier for source in sources for identifier in source.message_ids)
