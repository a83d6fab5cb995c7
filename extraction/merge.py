"""The merge step's decisions, pure: which facts are new, known or outdated, and what is left to decide."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from schemas.memory import Fact, Profile, Slot, SlotChange
from schemas.profile_schema import ProfilePolicy, SubTopic
from schemas.windows import MessageId

SEPARATOR: Final = "; "

Action = Literal["append", "update", "abort"]
Covers = Callable[[str, str], bool]
DropReason = Literal["repeated", "identical", "superseded", "older", "aborted", "invalid", "outside", "full", "empty"]
Dropped = tuple[tuple[Fact, str], ...]


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """A slot that holds something else than the facts say, or a new one whose value is to be checked.

    Somebody must decide. `slot` is None for a new one; `rule` is what is configured of it.
    """

    slot: Slot | None
    facts: tuple[Fact, ...]
    rule: SubTopic | None = None

    @property
    def topic(self) -> str:
        return self.facts[0].topic

    @property
    def sub_topic(self) -> str:
        return self.facts[0].sub_topic

    @property
    def news(self) -> str:
        return SEPARATOR.join(fact.memo for fact in self.facts)


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision on an open slot: append its news, put `memo` in its place, or leave it and say why.

    Leaving a new slot means that its value is invalid, whatever is said.
    """

    action: Action
    memo: str = ""
    reason: DropReason = "aborted"


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What could be decided without looking at meaning; `open_slots` are left, in the facts' order."""

    changes: tuple[SlotChange, ...]
    dropped: Dropped
    open_slots: tuple[OpenSlot, ...]


def normalise(text: str) -> str:
    """A form in which texts that differ in case, width, punctuation and spacing only are equal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip() or folded.strip()


def pieces_of(content: str) -> list[str]:
    return [piece.strip() for piece in re.split(r"[;；]", content) if piece.strip()]


def equal(known: str, memo: str) -> bool:
    return normalise(known) == normalise(memo)


def plan_merge(facts: Iterable[Fact], profile: Profile, policy: ProfilePolicy, covers: Covers = equal) -> MergePlan:
    """Sort facts into new slots, facts that change nothing or may not stand there, and open slots.

    `covers(known, memo)` is true where the memo adds nothing to what is known.
    """
    changes: list[SlotChange] = []
    dropped: list[tuple[Fact, str]] = []
    open_slots: list[OpenSlot] = []
    by_name = {(slot.topic, slot.sub_topic): slot for slot in profile.slots}
    groups: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        if not normalise(fact.memo):
            dropped.append((fact, "empty"))
        elif not policy.allows(fact.topic, fact.sub_topic):
            dropped.append((fact, "outside"))
        else:
            groups.setdefault((fact.topic, fact.sub_topic), []).append(fact)
    for name, group in groups.items():
        slot = by_name.get(name)
        if policy.single_valued(*name):
            kept, left_out = _keep_newest(group, slot)
        else:
            kept, left_out = _keep_unknown(group, slot, covers)
        dropped.extend(left_out)
        if not kept:
            continue
        if slot is None and not policy.validates(*name):
            changes.append(_insert(kept, SEPARATOR.join(fact.memo for fact in kept)))
        else:
            open_slots.append(OpenSlot(slot, kept, policy.slot(*name)))
    return MergePlan(tuple(changes), tuple(dropped), tuple(open_slots))


def resolve(plan: MergePlan, answers: Sequence[Answer]) -> tuple[tuple[SlotChange, ...], Dropped]:
    """The changes and dropped facts of the whole plan; `answers` are one for each open slot, in order."""
    changes = list(plan.changes)
    dropped = list(plan.dropped)
    for item, answer in zip(plan.open_slots, answers, strict=True):
        if item.slot is None:
            if answer.action == "abort":
                dropped.extend((fact, "invalid") for fact in item.facts)
            else:
                changes.append(_insert(item.facts, answer.memo.strip() if answer.action == "update" else item.news))
            continue
        before = item.slot.content
        if answer.action == "abort":
            dropped.extend((fact, answer.reason) for fact in item.facts)
            continue
        after = before + SEPARATOR + item.news if answer.action == "append" else answer.memo.strip()
        if after == before:
            dropped.extend((fact, "identical") for fact in item.facts)
            continue
        changes.append(
            SlotChange(
                op="u",
                topic=item.slot.topic,
                sub_topic=item.slot.sub_topic,
                before=before,
                after=after,
                why=answer.action,
                message_ids=_message_ids(item.facts),
                occurred_at=max(item.slot.occurred_at, *(fact.occurred_at for fact in item.facts)),
            )
        )
    return tuple(changes), tuple(dropped)


def _keep_newest(group: Sequence[Fact], slot: Slot | None) -> tuple[tuple[Fact, ...], list[tuple[Fact, str]]]:
    # Of equally old statements the later in the conversation counts.
    newest = max(reversed(group), key=lambda fact: fact.occurred_at)
    dropped: list[tuple[Fact, str]] = [
        (fact, "repeated" if equal(newest.memo, fact.memo) else "superseded") for fact in group if fact is not newest
    ]
    if slot is not None and equal(slot.content, newest.memo):
        return (), [*dropped, (newest, "identical")]
    if slot is not None and newest.occurred_at < slot.occurred_at:
        return (), [*dropped, (newest, "older")]
    return (newest,), dropped


def _keep_unknown(
    group: Sequence[Fact], slot: Slot | None, covers: Covers
) -> tuple[tuple[Fact, ...], list[tuple[Fact, str]]]:
    known = [] if slot is None else [slot.content, *pieces_of(slot.content)]
    kept: list[Fact] = []
    dropped: list[tuple[Fact, str]] = []
    for fact in group:
        # A memo of several pieces was stored as several pieces.
        if all(any(covers(piece, part) for piece in known) for part in pieces_of(fact.memo)) or any(
            covers(piece, fact.memo) for piece in known
        ):
            dropped.append((fact, "identical"))
        elif any(covers(other.memo, fact.memo) for other in kept):
            dropped.append((fact, "repeated"))
        else:
            kept.append(fact)
    return tuple(kept), dropped


def _insert(facts: Sequence[Fact], content: str) -> SlotChange:
    return SlotChange(
        op="c",
        topic=facts[0].topic,
        sub_topic=facts[0].sub_topic,
        before=None,
        after=content,
        why="new",
        message_ids=_message_ids(facts),
        occurred_at=max(fact.occurred_at for fact in facts),
    )


def _message_ids(facts: Iterable[Fact]) -> tuple[MessageId, ...]:
    return tuple(dict.fromkeys(identifier for fact in facts for identifier in fact.message_ids))
