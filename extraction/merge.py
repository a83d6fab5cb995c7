"""The merge step's decisions, pure: which facts are new, known or outdated, and what is left to decide."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from extraction.drafts import Draft, Dropped, DropReason, Entry, SlotName, draft_of, restated
from extraction.memos import contains, equal, join_memos, normalise, pieces_of, unlabel
from schemas.memory import Fact, Profile, Slot
from schemas.profile_schema import ProfilePolicy, SubTopic

Action = Literal["append", "update", "confirm", "abort"]
Covers = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """A slot that holds something else than the facts say, or a new one whose value is to be checked.

    Somebody must decide. `slot` is None for a new one; `rule` is what is configured of it; `restated` are newer facts
    that say all of what it holds once more.
    """

    slot: Slot | None
    facts: tuple[Fact, ...]
    rule: SubTopic | None = None
    restated: tuple[Fact, ...] = ()

    @property
    def topic(self) -> str:
        return self.facts[0].topic

    @property
    def sub_topic(self) -> str:
        return self.facts[0].sub_topic

    @property
    def news(self) -> str:
        return join_memos(fact.memo for fact in self.facts)


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision on an open slot: append its news, put `memo` in its place, or leave it.

    `confirm` leaves it because it says the same already, `abort` for `reason`. Leaving a new slot means that its value
    is invalid, whatever is said.
    """

    action: Action
    memo: str = ""
    reason: DropReason = "aborted"


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What could be decided without looking at meaning; `open_slots` are left, in the facts' order."""

    entries: tuple[Entry, ...]
    dropped: Dropped
    open_slots: tuple[OpenSlot, ...]


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The facts of one slot: what is news to it, what says it once more, and what is dropped."""

    news: tuple[Fact, ...] = ()
    restated: tuple[Fact, ...] = ()
    dropped: Dropped = ()


def plan_merge(facts: Iterable[Fact], profile: Profile, policy: ProfilePolicy, covers: Covers = equal) -> MergePlan:
    """Sort facts into new slots, facts that change nothing or may not stand there, and open slots.

    `covers(known, memo)` is true where the memo adds nothing to what is known.
    """
    entries: list[Entry] = []
    dropped: list[tuple[Fact, str]] = []
    open_slots: list[OpenSlot] = []
    by_name = {(slot.topic, slot.sub_topic): slot for slot in profile.slots}
    corrected = {(item.topic, item.sub_topic): item.corrected_at for item in profile.corrections}
    groups: dict[SlotName, list[Fact]] = {}
    for fact in facts:
        name = fact.topic, fact.sub_topic
        if not normalise(fact.memo):
            dropped.append((fact, "empty"))
        elif not policy.allows(*name):
            dropped.append((fact, "outside"))
        elif name in corrected and fact.occurred_at < corrected[name]:
            dropped.append((fact, "older"))
        elif not policy.single_valued(*name) and _is_joined(fact, profile, covers):
            dropped.append((fact, "identical"))
        else:
            groups.setdefault(name, []).append(fact)
    for name, group in groups.items():
        slot = by_name.get(name)
        found = _sort_single(group, slot) if policy.single_valued(*name) else _sort_gathered(group, slot, covers)
        dropped.extend(found.dropped)
        if found.news and (slot is not None or policy.validates(*name)):
            open_slots.append(OpenSlot(slot, found.news, policy.slot(*name), found.restated))
        elif found.news:
            entries.append(_insert(found.news, join_memos(fact.memo for fact in found.news)))
        elif found.restated and slot is not None:
            entries.append(restated(slot, found.restated))
    return MergePlan(tuple(entries), tuple(dropped), tuple(open_slots))


def resolve(plan: MergePlan, answers: Sequence[Answer], profile: Profile, policy: ProfilePolicy) -> Draft:
    """The profile with the whole plan; `answers` are one for each open slot, in order.

    Whatever the answers say, only the slots of the plan are changed, none is emptied, a single value stays single, and
    what was said earlier than what a slot holds takes nothing of it away.
    """
    draft = draft_of(profile).put({entry.name: entry for entry in plan.entries}, dropped=plan.dropped)
    for item, answer in zip(plan.open_slots, answers, strict=True):
        entry, dropped = _decide(item, answer, policy)
        draft = draft.put({} if entry is None else {entry.name: entry}, dropped=dropped)
    return draft


def _decide(item: OpenSlot, answer: Answer, policy: ProfilePolicy) -> tuple[Entry | None, Dropped]:
    memo = answer.memo.strip() if answer.action == "update" and normalise(answer.memo) else ""
    slot = item.slot
    if slot is None:
        if answer.action in ("abort", "confirm"):
            return None, _all(item.facts, "invalid")
        return _insert(item.facts, memo or item.news), ()
    still = restated(slot, item.restated) if item.restated else None
    if answer.action == "abort":
        return still, _all(item.facts, answer.reason)
    if answer.action == "confirm" or equal(memo, slot.content):
        said_again = [*item.restated, *(fact for fact in item.facts if fact.occurred_at > slot.occurred_at)]
        known = [fact for fact in item.facts if fact not in said_again]
        return restated(slot, said_again) if said_again else None, _all(known, "identical")
    is_single = policy.single_valued(item.topic, item.sub_topic)
    if is_single:
        after = memo or item.news
    elif memo and _newest(item.facts) < _newest(item.restated, slot) and not contains(memo, slot.content):
        return still, _all(item.facts, "older")
    else:
        after = memo or join_memos([slot.content, item.news])
    why = "update" if memo or is_single else "append"
    return Entry(slot.topic, slot.sub_topic, after, slot, (*item.restated, *item.facts), why=why), ()


def _newest(facts: Iterable[Fact], slot: Slot | None = None) -> datetime:
    times = [fact.occurred_at for fact in facts]
    return max(times if slot is None else [slot.occurred_at, *times])


def _all(facts: Iterable[Fact], reason: DropReason) -> Dropped:
    return tuple((fact, reason) for fact in facts)


def _sort_single(group: Sequence[Fact], slot: Slot | None) -> _Sorted:
    # Of equally old statements the later in the conversation counts.
    newest = max(reversed(group), key=lambda fact: fact.occurred_at)
    dropped: Dropped = tuple(
        (fact, "repeated" if equal(newest.memo, fact.memo) else "superseded") for fact in group if fact is not newest
    )
    if slot is None or (newest.occurred_at >= slot.occurred_at and not equal(slot.content, newest.memo)):
        return _Sorted(news=(newest,), dropped=dropped)
    if newest.occurred_at > slot.occurred_at:
        return _Sorted(restated=(newest,), dropped=dropped)
    reason: DropReason = "identical" if equal(slot.content, newest.memo) else "older"
    return _Sorted(dropped=(*dropped, (newest, reason)))


def _sort_gathered(group: Sequence[Fact], slot: Slot | None, covers: Covers) -> _Sorted:
    known = [] if slot is None else [slot.content, *pieces_of(slot.content)]
    news: list[Fact] = []
    again: list[Fact] = []
    dropped: list[tuple[Fact, str]] = []
    for fact in group:
        # A memo of several pieces was stored as several pieces.
        if all(any(covers(piece, part) for piece in known) for part in pieces_of(fact.memo)) or any(
            covers(piece, fact.memo) for piece in known
        ):
            # Saying a part of it again says nothing of the rest, and does not make that newer.
            if slot is not None and fact.occurred_at > slot.occurred_at and equal(slot.content, fact.memo):
                again.append(fact)
            else:
                dropped.append((fact, "identical"))
        elif (number := _find(news, fact)) is not None:
            # Of equal ones the newest counts, or it would be news when it comes again.
            older, news[number] = sorted((news[number], fact), key=lambda fact: fact.occurred_at)
            dropped.append((older, "repeated"))
        elif any(covers(other.memo, fact.memo) for other in news):
            dropped.append((fact, "repeated"))
        else:
            news.append(fact)
    return _Sorted(tuple(news), tuple(again), tuple(dropped))


def _find(facts: Sequence[Fact], wanted: Fact) -> int | None:
    return next((number for number, fact in enumerate(facts) if equal(fact.memo, wanted.memo)), None)


def _is_joined(fact: Fact, profile: Profile, covers: Covers) -> bool:
    """Whether organize has put what the fact says into another slot of its topic, under the fact's own name."""
    known = [
        memo
        for slot in profile.slots
        if slot.topic == fact.topic
        for piece in pieces_of(slot.content)
        if (memo := unlabel(fact.sub_topic, piece))
    ]
    return bool(known) and all(any(covers(memo, part) for memo in known) for part in pieces_of(fact.memo))


def _insert(facts: Sequence[Fact], content: str) -> Entry:
    return Entry(facts[0].topic, facts[0].sub_topic, content, None, tuple(facts), why="new")
