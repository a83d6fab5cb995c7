"""The steps joined: extract, then merge, organize and compact with embed beside them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

from extraction.compact import LongMemo, Shortened, long_memos, refuse_late, shorten_entries
from extraction.drafts import Draft, changes_of
from extraction.embed import embed
from extraction.merge import Answer, MergePlan, resolve
from extraction.organize import Crowd, Join, crowds_of, join_entries, note_crowds
from extraction.protocol import Embedder
from schemas.conversation import Message
from schemas.errors import ContentRejected, ContextTooLong, MemostreamError
from schemas.memory import Extraction, ExtractorIdentity, MemoryUpdate, Profile, Usage, slot_text
from schemas.profile_schema import ProfilePolicy

# How long an answer is waited for that nobody needs any more.
LATE_ANSWER_S: Final = 1.0

Answers = TypeVar("Answers", bound=Sequence[object])


class Steps(Protocol):
    """What a provider adds to the pipeline."""

    async def extract(self, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> Extraction:
        """Facts, gists and a summary of one or more messages, not embedded."""

    def plan(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MergePlan:
        """What is new, what is known, and what is left to decide; without a call."""

    async def decide(self, plan: MergePlan, policy: ProfilePolicy) -> tuple[Sequence[Answer], Usage]:
        """One answer for each open slot, in order; not called where there is none."""

    async def organize(self, crowds: Sequence[Crowd], policy: ProfilePolicy) -> tuple[Sequence[Join], Usage]:
        """Which members are joined; not called where no topic is over its limit."""

    async def compact(
        self, items: Sequence[LongMemo], policy: ProfilePolicy
    ) -> tuple[Sequence[Shortened | None], Usage]:
        """One answer for each memo, in order, None to leave it; not called where none is over its limit."""

    async def close(self) -> None: ...


class Pipeline:
    """An Extractor made of a provider's steps; `embedder` None embeds nothing."""

    def __init__(
        self, identity: Callable[[ProfilePolicy], ExtractorIdentity], steps: Steps, embedder: Embedder | None
    ) -> None:
        self._identity = identity
        self._steps = steps
        self._embedder = embedder

    def identity(self, policy: ProfilePolicy) -> ExtractorIdentity:
        return self._identity(policy)

    async def extract(self, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> Extraction:
        if not any(message.content.strip() or message.image for message in messages):
            return Extraction()
        extraction = await self._steps.extract(messages, profile, policy)
        names = {tag.name for tag in policy.event_tags}
        # A model's own tags would make searching by tag a matter of luck.
        return replace(extraction, tags=tuple((name, value) for name, value in extraction.tags if name in names))

    async def merge(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MemoryUpdate:
        meter = _Meter()
        plan = self._steps.plan(extraction, profile, policy)
        settling = asyncio.create_task(self._settle(plan, profile, policy, meter))
        embedding = asyncio.create_task(self._embed(extraction, plan, meter))
        tasks = (settling, embedding)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            # Where one call fails, the other's answer is of no use, but what it says of its tokens is.
            await asyncio.wait(tasks, timeout=LATE_ANSWER_S)
            for task in tasks:
                if task.done():
                    task.result()
            draft, embedded = settling.result(), embedding.result()
        except MemostreamError as error:
            error.add_usage(meter.usage)
            raise
        finally:
            settling.cancel()
            embedding.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        usage = extraction.usage + meter.usage
        return MemoryUpdate(
            changes_of(draft, profile), embedded, usage, draft.dropped, draft.over_limit, meter.has_decided
        )

    async def close(self) -> None:
        await self._steps.close()
        if self._embedder is not None:
            await self._embedder.close()

    async def _settle(self, plan: MergePlan, profile: Profile, policy: ProfilePolicy, meter: "_Meter") -> Draft:
        answers = await meter.count(self._steps.decide(plan, policy)) if plan.open_slots else ()
        meter.has_decided = bool(plan.open_slots)
        draft = resolve(plan, answers, profile, policy)
        if crowds := crowds_of(draft, policy):
            joins = await meter.count_unless_refused(self._steps.organize(crowds, policy))
            draft = join_entries(draft, crowds, joins or (), policy)
        draft = refuse_late(draft, policy)
        if items := long_memos(draft, policy):
            shortened = await meter.count_unless_refused(self._steps.compact(items, policy))
            draft = shorten_entries(draft, items, shortened or [None] * len(items), policy)
        return note_crowds(draft, policy)

    async def _embed(self, extraction: Extraction, plan: MergePlan, meter: "_Meter") -> Extraction:
        if self._embedder is None:
            return extraction
        # What a model decides on is not known yet, and not worth a call of its own: it is embedded later.
        new = (entry for entry in plan.entries if entry.slot is None)
        texts = (slot_text(entry.topic, entry.sub_topic, entry.content) for entry in new)
        embedded = await embed(extraction, self._embedder, texts)
        meter.usage += embedded.usage - extraction.usage
        return embedded


@dataclass(slots=True)
class _Meter:
    """What the calls of one merge have cost so far, and whether a model has decided on slots."""

    usage: Usage = field(default_factory=Usage)
    has_decided: bool = False

    async def count(self, call: Awaitable[tuple[Answers, Usage]]) -> Answers:
        answers, usage = await call
        self.usage += usage
        return answers

    async def count_unless_refused(self, call: Awaitable[tuple[Answers, Usage]]) -> Answers | None:
        """Without answers where the call is refused: what was said is not parked because it could not be tidied."""
        try:
            return await self.count(call)
        except (ContentRejected, ContextTooLong) as error:
            self.usage += error.usage or Usage()
            return None
