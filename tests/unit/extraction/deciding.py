"""Steps that answer as a test wants: by rules, as a good model would, or as the worst would."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from extraction.compact import LongMemo, Shortened, shorten_by_rule
from extraction.memos import join_memos, pieces_of
from extraction.merge import Answer, MergePlan, OpenSlot, plan_merge
from extraction.organize import Crowd, Join, joins_by_rule
from extraction.pipeline import Pipeline, Steps
from schemas.conversation import Message
from schemas.memory import Extraction, ExtractorIdentity, Fact, MemoryUpdate, Profile, Usage
from schemas.profile_schema import ProfilePolicy

CALL = Usage(completions=1, prompt_tokens=10)


@dataclass(slots=True)
class ScriptedSteps:
    """Steps of functions; `calls` says which were made. Each call costs CALL."""

    decide_on: Callable[[OpenSlot], Answer]
    join: Callable[[Sequence[Crowd]], Sequence[Join]] = joins_by_rule
    shorten: Callable[[LongMemo, int], Shortened | None] = lambda item, limit: shorten_by_rule(item.entry, limit)
    calls: list[str] = field(default_factory=list)

    async def extract(self, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> Extraction:
        raise NotImplementedError

    def plan(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MergePlan:
        return plan_merge(extraction.facts, profile, policy)

    async def decide(self, plan: MergePlan, policy: ProfilePolicy) -> tuple[Sequence[Answer], Usage]:
        self.calls.append("decide")
        return [self.decide_on(item) for item in plan.open_slots], CALL

    async def organize(self, crowds: Sequence[Crowd], policy: ProfilePolicy) -> tuple[Sequence[Join], Usage]:
        self.calls.append("organize")
        return self.join(crowds), CALL

    async def compact(
        self, items: Sequence[LongMemo], policy: ProfilePolicy
    ) -> tuple[Sequence[Shortened | None], Usage]:
        self.calls.append("compact")
        return [self.shorten(item, policy.max_memo_tokens) for item in items], CALL

    async def close(self) -> None:
        """Nothing is open."""


def append(item: OpenSlot) -> Answer:
    return Answer("append")


def join_well(crowds: Sequence[Crowd]) -> list[Join]:
    """As a model that does what it is told: the first members under a new name, with all that they say."""
    joins = []
    first = 0
    for crowd in crowds:
        free = [number for number, entry in enumerate(crowd.members) if entry.name not in crowd.fixed]
        chosen = free[: len(crowd.members) - crowd.goal + 1]
        if len(chosen) > 1:
            pieces = [
                piece
                for number in chosen
                for piece in _labelled(crowd.members[number].sub_topic, crowd.members[number].content)
            ]
            joins.append(Join(tuple(first + number for number in chosen), "together", join_memos(pieces)))
        first += len(crowd.members)
    return joins


def _labelled(sub_topic: str, content: str) -> list[str]:
    return [piece if sub_topic == "together" else f"{sub_topic}: {piece}" for piece in pieces_of(content)]


def worst_steps(draw: Callable[[st.SearchStrategy[object]], object], words: Sequence[str]) -> ScriptedSteps:
    """Steps whose every answer is drawn, as `data.draw` does."""
    memos = st.sampled_from(["", " ", "pwned", *words, "; ".join(words), "x " * 400])
    names = st.sampled_from(["", "other", "city", "age", "s0", "s1", "new", "title"])
    actions = st.sampled_from(["append", "update", "confirm", "abort"])
    answers = st.builds(Answer, actions, memos)
    numbers = st.lists(st.integers(-1, 12), max_size=5).map(tuple)
    joins = st.lists(st.builds(Join, numbers, names, memos), max_size=4)
    shortened = st.none() | st.builds(Shortened, memos)
    return ScriptedSteps(
        lambda _: draw(answers),  # type: ignore[arg-type, return-value]
        lambda _: draw(joins),  # type: ignore[arg-type, return-value]
        lambda _item, _limit: draw(shortened),  # type: ignore[arg-type, return-value]
    )


def merged(steps: Steps, facts: Sequence[Fact], into: Profile, policy: ProfilePolicy) -> MemoryUpdate:
    pipeline = Pipeline(lambda _: ExtractorIdentity("scripted", "1", "none", ""), steps, None)
    return asyncio.run(pipeline.merge(Extraction(facts=tuple(facts)), into, policy))
