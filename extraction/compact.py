"""The compact step's decisions, pure: which memos are too long, and what may take their place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from extraction.drafts import Draft, Entry, settle
from extraction.memos import equal, join_memos, label, mentions, normalise, pieces_of, tokens_of
from schemas.memory import Fact, OverLimit
from schemas.profile_schema import ProfilePolicy

# A memo this many times over its limit is shortened by rule where the answer was of no use.
HARD_LIMIT: Final = 4


@dataclass(frozen=True, slots=True)
class LongMemo:
    """A memo over its limit; `keep` are the facts of this window in it, which the shorter one must hold still."""

    entry: Entry
    keep: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Shortened:
    """What is to take a long memo's place; `left_out` are facts of this window for which there is no room."""

    memo: str
    left_out: tuple[Fact, ...] = ()


def refuse_late(draft: Draft, policy: ProfilePolicy) -> Draft:
    """The draft without statements older than their slot that would make it too long.

    Making room for them would take away what was said after them.
    """
    for entry in draft.entries:
        slot = entry.slot
        if slot is None or entry.joined or not entry.is_changed or tokens_of(entry.content) <= policy.max_memo_tokens:
            continue
        if all(fact.occurred_at < slot.occurred_at for fact in entry.facts):
            unchanged = replace(entry, content=slot.content, facts=(), why="")
            draft = draft.put({entry.name: unchanged}, dropped=[(fact, "full") for fact in entry.facts])
    return draft


def long_memos(draft: Draft, policy: ProfilePolicy) -> tuple[LongMemo, ...]:
    """The memos over `policy.max_memo_tokens` among those that this update changes."""
    return tuple(
        LongMemo(entry, tuple(fact for fact in entry.facts if mentions(entry.content, fact.memo)))
        for entry in draft.entries
        if entry.why and entry.is_changed and tokens_of(entry.content) > policy.max_memo_tokens
    )


def fault_of(item: LongMemo, shortened: Shortened, policy: ProfilePolicy) -> str:
    """What is wrong with an answer, empty where it can be taken; nothing of its text is quoted."""
    if not normalise(shortened.memo):
        return "is empty"
    if tokens_of(shortened.memo) > policy.max_memo_tokens:
        return "is too long still"
    missing = [fact for fact in item.keep if fact not in shortened.left_out and not mentions(shortened.memo, fact.memo)]
    return "leaves out what is to be kept" if missing else ""


def shorten_entries(
    draft: Draft, items: Sequence[LongMemo], answers: Sequence[Shortened | None], policy: ProfilePolicy
) -> Draft:
    """The draft with shorter memos; `answers` are one for each item, None where there is none.

    A memo whose answer cannot be taken stays long, which is noted; one that is far too long is shortened by rule.
    """
    for item, answer in zip(items, answers, strict=True):
        entry = item.entry
        if answer is None or fault_of(item, answer, policy):
            if tokens_of(entry.content) <= HARD_LIMIT * policy.max_memo_tokens:
                draft = draft.put({}, over_limit=[OverLimit(*entry.name, "not-shortened")])
                continue
            answer = shorten_by_rule(entry, policy.max_memo_tokens)
        if tokens_of(answer.memo) >= tokens_of(entry.content):
            draft = draft.put({}, over_limit=[OverLimit(*entry.name, "one-piece")])
            continue
        over_limit = []
        if tokens_of(answer.memo) > policy.max_memo_tokens:
            over_limit.append(OverLimit(*entry.name, "one-piece"))
        left_out = [fact for fact in entry.facts if fact in answer.left_out]
        facts = tuple(fact for fact in entry.facts if fact not in left_out)
        shorter, known = settle(replace(entry, content=answer.memo.strip(), facts=facts, why="compact"))
        dropped = [*((fact, "full") for fact in left_out), *known]
        draft = draft.put({entry.name: shorter}, dropped=dropped, over_limit=over_limit)
    return draft


def shorten_by_rule(entry: Entry, limit_tokens: int) -> Shortened:
    """The newest statements that fit, each whole and once, and the facts of this window that do not.

    A fact is newer than what the slot held only if it was said later, so that what was left out once does not push out
    what was kept when it comes again. A fact that is known in part is kept with all its pieces. The newest statement is
    kept even if it alone is too long.
    """
    # Of repeats, the last one counts.
    pieces: dict[str, str] = {}
    for piece in reversed(pieces_of(entry.content)):
        pieces.setdefault(normalise(piece), piece)
    stored = {normalise(piece) for slot in entry.stored for piece in pieces_of(slot.content)}
    since = max((slot.occurred_at for slot in entry.stored), default=None)
    held = list(reversed(pieces))
    older: list[_Unit] = []
    newer: list[_Unit] = []
    for fact in sorted(entry.facts, key=lambda fact: fact.occurred_at):
        parts = _parts_in(fact, pieces)
        own = [part for part in parts if part in held and part not in stored]
        held = [part for part in held if part not in own]
        if own:
            (newer if since is None or fact.occurred_at > since else older).append(_Unit(own, parts, fact))
    units = [*older, *(_Unit([part], [part]) for part in held), *newer]
    kept: set[str] = set()

    def joined(parts: set[str]) -> str:
        return join_memos(pieces[part] for unit in units for part in unit.own if part in parts)

    for unit in reversed(units):
        if not kept or tokens_of(joined(kept.union(unit.parts))) <= limit_tokens:
            kept.update(unit.parts)
    memo = joined(kept)
    if entry.slot is not None and equal(memo, entry.slot.content):
        memo = entry.slot.content
    mentioned = [fact for fact in entry.facts if mentions(entry.content, fact.memo)]
    placed = [unit.fact for unit in units]
    still = [unit.fact for unit in units if kept.issuperset(unit.parts)] + [
        fact for fact in entry.facts if fact not in placed and (mentions(memo, fact.memo) or fact not in mentioned)
    ]
    return Shortened(memo, tuple(fact for fact in entry.facts if fact not in still))


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is kept together: `own` are the pieces that it brings, `parts` all that it says; both normalised."""

    own: Sequence[str]
    parts: Sequence[str]
    fact: Fact | None = None


def _parts_in(fact: Fact, pieces: Mapping[str, str]) -> list[str]:
    """The fact's pieces, normalised, as they stand there: under its sub-topic where others were joined with it."""
    for parts in (pieces_of(fact.memo), label(fact.sub_topic, fact.memo)):
        normalised = [normalise(part) for part in parts]
        if all(part in pieces for part in normalised):
            return normalised
    return []
