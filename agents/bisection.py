"""Extract and merge around what a model cannot take: split what is too long, leave out the poison."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from agents.faults import (
    CONTENT_REJECTED,
    TOO_LONG,
    Findings,
    Parked,
    halve,
    halve_text,
    is_short,
    join_extractions,
    rejoin,
    shorten,
)
from schemas.conversation import Message, conversation_of, messages_of
from schemas.errors import ContentRejected, ContextTooLong, MemostreamError
from schemas.memory import Extraction, Fact, Gist, MemoryUpdate, Usage
from schemas.windows import MessageId, Unit

ExtractCall = Callable[[Sequence[Message]], Awaitable[Extraction]]
MergeCall = Callable[[Extraction], Awaitable[MemoryUpdate]]


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

    A piece that is rejected alone is parked, and so is a short text that is too long. RetryLater passes through.
    """
    return rejoin(units, await _extract(call, units))


async def merge_topics(call: MergeCall, extraction: Extraction) -> Merged:
    """Merge in one call if that goes, else in parts: topic by topic, and embeddings apart, gist by gist.

    The messages behind what cannot be merged alone are refused. A summary that cannot be embedded stays without.
    """
    try:
        return Merged(await call(extraction))
    except (ContextTooLong, ContentRejected) as error:
        reason = TOO_LONG if isinstance(error, ContextTooLong) else CONTENT_REJECTED
        detail, exception = str(error), type(error).__name__
    halves = halves_of(extraction)
    if halves is None:
        sources = extraction.facts or extraction.gists
        if not sources:
            return Merged(MemoryUpdate((), extraction, extraction.usage))
        refused = await _refused_alone(call, extraction.facts) or _message_ids(sources)
        return Merged(MemoryUpdate(), refused, reason, detail, exception)
    first, second = await merge_topics(call, halves[0]), await merge_topics(call, halves[1])
    parts = (first.update, second.update)
    update = MemoryUpdate(
        changes=first.update.changes + second.update.changes,
        extraction=replace(
            extraction,
            gists=tuple(gist for part in parts for gist in part.extraction.gists),
            summary_embedding=next(
                (vector for part in parts if (vector := part.extraction.summary_embedding) is not None), None
            ),
            usage=first.update.extraction.usage + second.update.extraction.usage,
            slot_embeddings=first.update.extraction.slot_embeddings + second.update.extraction.slot_embeddings,
        ),
        usage=first.update.usage + second.update.usage,
        dropped=first.update.dropped + second.update.dropped,
        over_limit=first.update.over_limit + second.update.over_limit,
    )
    return Merged(
        update,
        first.refused | second.refused,
        first.reason or second.reason,
        first.detail or second.detail,
        first.exception or second.exception,
    )


async def _refused_alone(call: MergeCall, facts: Sequence[Fact]) -> frozenset[MessageId]:
    """The messages behind those of one topic's facts that cannot be merged even alone.

    Only to find them: merged apart, facts of one topic would be organized twice, so nothing of it is kept.
    """
    if len(facts) < 2:
        return _message_ids(facts)
    refused: frozenset[MessageId] = frozenset()
    for half in (facts[: len(facts) // 2], facts[len(facts) // 2 :]):
        try:
            await call(Extraction(facts=tuple(half)))
        except (ContextTooLong, ContentRejected):
            refused |= await _refused_alone(call, half)
    return refused


def _message_ids(sources: Iterable[Fact | Gist]) -> frozenset[MessageId]:
    return frozenset(identifier for source in sources for identifier in source.message_ids)


def halves_of(extraction: Extraction) -> tuple[Extraction, Extraction] | None:
    """Two parts that can be merged one by one; None if there is one thing to merge. The first has the usage."""
    facts, gists, summary = extraction.facts, extraction.gists, extraction.summary
    if facts and (gists or summary):
        return replace(extraction, gists=(), summary=None), replace(extraction, facts=(), usage=Usage())
    if summary and gists:
        return replace(extraction, summary=None), replace(extraction, gists=(), usage=Usage())
    if len(gists) > 1:
        middle = len(gists) // 2
        return replace(extraction, gists=gists[:middle]), replace(extraction, gists=gists[middle:], usage=Usage())
    # Never within a topic: both halves would organize it.
    topics = list(dict.fromkeys(fact.topic for fact in facts))
    if len(topics) < 2:
        return None
    first_topics = set(topics[: len(topics) // 2])
    return (
        replace(extraction, facts=tuple(fact for fact in facts if fact.topic in first_topics)),
        replace(extraction, facts=tuple(fact for fact in facts if fact.topic not in first_topics), usage=Usage()),
    )


async def _extract(call: ExtractCall, units: Sequence[Unit]) -> Findings:
    rejected: ContentRejected | None = None
    too_long = ContextTooLong()
    try:
        return Findings(await call(conversation_of(units)), tuple(units))
    except ContextTooLong as error:
        too_long = error
    except ContentRejected as error:
        rejected = error
    if (halves := halve(units)) is not None:
        return await _extract(call, halves[0]) + await _extract(call, halves[1])
    unit = units[0]
    if rejected is not None:
        return _parked(unit, CONTENT_REJECTED, rejected)
    try:
        return Findings(await _extract_halves(call, messages_of(unit), too_long), (unit,))
    except ContextTooLong as error:
        return _parked(unit, TOO_LONG, error)
    except ContentRejected as error:
        return _parked(unit, CONTENT_REJECTED, error)


async def _extract_halves(call: ExtractCall, messages: Sequence[Message], error: ContextTooLong) -> Extraction:
    """Raises `error`, or a later one, when even a short text is too long."""
    parts = []
    for message in messages:
        shorter = shorten(message)
        if is_short([message]):
            raise error
        for part in (shorter,) if shorter != message else halve_text(message):
            try:
                parts.append(await call([part]))
            except ContextTooLong as still_too_long:
                parts.append(await _extract_halves(call, [part], still_too_long))
    return join_extractions(parts)


def _parked(unit: Unit, reason: str, error: MemostreamError) -> Findings:
    return Findings(parked=(Parked(unit, reason, str(error), exception=type(error).__name__),))
