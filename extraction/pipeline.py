"""The steps joined: extract, then merge with embed beside it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from extraction.embed import embed
from extraction.merge import Answer, MergePlan, resolve
from extraction.protocol import Embedder
from schemas.conversation import Message
from schemas.memory import Extraction, ExtractorIdentity, MemoryUpdate, Profile, Usage
from schemas.profile_schema import ProfilePolicy


class Steps(Protocol):
    """What a provider adds to the pipeline."""

    async def extract(self, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> Extraction:
        """Facts, gists and a summary of one or more messages, not embedded."""

    def plan(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MergePlan:
        """What is new, what is known, and what is left to decide; without a call."""

    async def decide(self, plan: MergePlan, policy: ProfilePolicy) -> tuple[Sequence[Answer], Usage]:
        """One answer for each open slot, in order; not called where there is none."""

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
        if not any(message.content.strip() for message in messages):
            return Extraction()
        extraction = await self._steps.extract(messages, profile, policy)
        names = {tag.name for tag in policy.event_tags}
        # A model's own tags would make searching by tag a matter of luck.
        return replace(extraction, tags=tuple((name, value) for name, value in extraction.tags if name in names))

    async def merge(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MemoryUpdate:
        plan = self._steps.plan(extraction, profile, policy)
        deciding = asyncio.create_task(self._decide(plan, policy))
        embedding = asyncio.create_task(self._embed(extraction))
        try:
            # Where one call fails, the other's answer would be thrown away, so it is not waited for.
            await asyncio.wait({deciding, embedding}, return_when=asyncio.FIRST_EXCEPTION)
            failed = next((task for task in (deciding, embedding) if task.done() and task.exception()), None)
            if failed is not None:
                failed.result()
            (answers, usage), embedded = deciding.result(), embedding.result()
        finally:
            deciding.cancel()
            embedding.cancel()
            await asyncio.gather(deciding, embedding, return_exceptions=True)
        changes, dropped = resolve(plan, answers)
        return MemoryUpdate(changes, embedded, embedded.usage + usage, dropped)

    async def close(self) -> None:
        await self._steps.close()
        if self._embedder is not None:
            await self._embedder.close()

    async def _decide(self, plan: MergePlan, policy: ProfilePolicy) -> tuple[Sequence[Answer], Usage]:
        if not plan.open_slots:
            return (), Usage()
        return await self._steps.decide(plan, policy)

    async def _embed(self, extraction: Extraction) -> Extraction:
        if self._embedder is None:
            return extraction
        return await embed(extraction, self._embedder)
