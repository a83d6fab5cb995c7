"""The merge step's decisions, pure: which facts are new, known or outdated, and what is left to decide."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from extraction.slots import SINGLE_VALUED
from schemas.memory import Fact, Profile, Slot, SlotChange
from schemas.windows import MessageId

SEPARATOR: Final = "; "
# The rules append nothing more to a slot that holds this many pieces; a model is told to keep slots short instead.
MAX_PIECES: Final = 32

Action = Literal["append", "update", "abort"]
DropReason = Literal["repeated", "identical", "superseded", "older", "aborted", "full", "empty"]
Dropped = tuple[tuple[Fact, str], ...]


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """A slot that holds something else than the facts say; somebody must decide."""

    slot: Slot
    facts: tuple[Fact, ...]

    @property
    def news(self) -> str:
        return SEPARATOR.join(fact.memo for fact in self.facts)


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision on an open slot: append its news, put `memo` in its place, or leave it and say why."""

    action: Action
    memo: str = ""
    reason: DropReason = "aborted"


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What could be decided without looking at meaning; `open_slots` are left, in the order of their first fact."""

    changes: tuple[SlotChange, ...]
    dropped: Dropped
    open_slots: tuple[OpenSlot, ...]


def normalise(text: str) -> str:
    """A form in which texts that differ in case, width, punctuation and spacing only are equal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip() or folded.strip()


def pieces_of(content: str) -> list[str]:
    return [piece.strip() for piece in re.split(r"[;；]", content) if piece.strip()]


def plan_merge(facts: Iterable[Fact], profile: Profile) -> MergePlan:
    """Sort facts into new slots, facts that change nothing, and open slots."""
    changes: list[SlotChange] = []
    dropped: list[tuple[Fact, str]] = []
    open_slots: list[OpenSlot] = []
    by_name = {(slot.topic, slot.sub_topic): slot for slot in profile.slots}
    groups: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        if normalise(fact.memo):
            groups.setdefault((fact.topic, fact.sub_topic), []).append(fact)
        else:
            dropped.append((fact, "empty"))
    for name, group in groups.items():
        slot = by_name.get(name)
        narrow = _keep_newest if name in SINGLE_VALUED else _keep_unknown
        kept, left_out = narrow(group, slot)
        dropped.extend(left_out)
        if not kept:
            continue
        if slot is None:
            changes.append(_insert(kept))
        else:
            open_slots.append(OpenSlot(slot, kept))
    return MergePlan(tuple(changes), tuple(dropped), tuple(open_slots))


def resolve(plan: MergePlan, answers: Sequence[Answer]) -> tuple[tuple[SlotChange, ...], Dropped]:
    """The changes and dropped facts of the whole plan; `answers` are one for each open slot, in order."""
    changes = list(plan.changes)
    dropped = list(plan.dropped)
    for item, answer in zip(plan.open_slots, answers, strict=True):
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


def narrow_open_slots(plan: MergePlan) -> MergePlan:
    """Leave out facts for which a gathering slot has no room any more."""
    dropped = list(plan.dropped)
    open_slots: list[OpenSlot] = []
    for item in plan.open_slots:
        room = len(item.facts)
        if (item.slot.topic, item.slot.sub_topic) not in SINGLE_VALUED:
            room = max(0, MAX_PIECES - len(pieces_of(item.slot.content)))
        dropped.extend((fact, "full") for fact in item.facts[room:])
        if item.facts[:room]:
            open_slots.append(OpenSlot(item.slot, item.facts[:room]))
    return MergePlan(plan.changes, tuple(dropped), tuple(open_slots))


def answer_by_rule(item: OpenSlot) -> Answer:
    """A newer statement replaces a single value; what else is said is gathered."""
    if (item.slot.topic, item.slot.sub_topic) in SINGLE_VALUED:
        return Answer("update", item.facts[-1].memo)
    return Answer("append")


def _keep_newest(group: Sequence[Fact], slot: Slot | None) -> tuple[tuple[Fact, ...], list[tuple[Fact, str]]]:
    # Of equally old statements the later in the conversation counts.
    newest = max(reversed(group), key=lambda fact: fact.occurred_at)
    dropped: list[tuple[Fact, str]] = []
    for fact in group:
        if fact is not newest:
            repeated = normalise(fact.memo) == normalise(newest.memo)
            dropped.append((fact, "repeated" if repeated else "superseded"))
    if slot is not None and normalise(slot.content) == normalise(newest.memo):
        return (), [*dropped, (newest, "identical")]
    if slot is not None and newest.occurred_at < slot.occurred_at:
        return (), [*dropped, (newest, "older")]
    return (newest,), dropped


def _keep_unknown(
    group: Sequence[Fact], slot: Slot | None
) -> tuple[tuple[Fact, ...], list[tuple[Fact, str]]]:
    known: set[str] = set()
    if slot is not None:
        known = {normalise(piece) for piece in (slot.content, *pieces_of(slot.content))}
    kept: list[Fact] = []
    dropped: list[tuple[Fact, str]] = []
    said: set[str] = set()
    for fact in group:
        form = normalise(fact.memo)
        parts = {normalise(piece) for piece in pieces_of(fact.memo)}
        if form in known or parts <= known:
            dropped.append((fact, "identical"))
        elif form in said:
            dropped.append((fact, "repeated"))
        else:
            said.add(form)
            kept.append(fact)
    return tuple(kept), dropped


def _insert(facts: Sequence[Fact]) -> SlotChange:
    return SlotChange(
        op="c",
        topic=facts[0].topic,
        sub_topic=facts[0].sub_topic,
        before=None,
        after=SEPARATOR.join(fact.memo for fact in facts),
        why="new",
        message_ids=_message_ids(facts),
        occurred_at=max(fact.occurred_at for fact in facts),
    )


def _message_ids(facts: Iterable[Fact]) -> tuple[MessageId, ...]:
    return tuple(dict.fromkeys(identifier for fact in facts for identifier in fact.message_ids))
