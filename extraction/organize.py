"""The organize step's decisions, pure: which sub-topics of a crowded topic are joined, without losing a fact."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from extraction.drafts import Draft, Entry, SlotName
from extraction.memos import join_memos, label, mentions, normalise, pieces_of, tokens_of
from schemas.memory import OverLimit
from schemas.profile_schema import ProfilePolicy

# What a rule joins, for want of a name that says more.
OTHER: Final = "other"
# A topic this many times over its limit is organized by rule where the answer was of no use.
HARD_LIMIT: Final = 2


@dataclass(frozen=True, slots=True)
class Crowd:
    """A topic with more sub-topics than it may have; `members` may be joined, and `most` of them may be left.

    Of them, `fixed` are configured: they keep their names, since the next extraction asks for those again.
    """

    topic: str
    members: tuple[Entry, ...]
    fixed: frozenset[SlotName]
    most: int

    @property
    def goal(self) -> int:
        """How many to ask for: about half, so that the next new sub-topic does not crowd the topic again."""
        return min(self.most, max(self.most // 2 + 1, len(self.fixed)))


@dataclass(frozen=True, slots=True)
class Join:
    """Members to be one sub-topic, by their numbers, counted through all crowds; the others stay as they are."""

    members: tuple[int, ...]
    sub_topic: str
    memo: str


def crowds_of(draft: Draft, policy: ProfilePolicy) -> tuple[Crowd, ...]:
    """The topics over `policy.max_sub_topics` in which this update changes something and something may be joined."""
    crowds = (_crowd(draft, topic, policy) for topic in _changed_topics(draft))
    return tuple(crowd for crowd in crowds if crowd is not None)


def faults_of(crowds: Sequence[Crowd], joins: Sequence[Join], policy: ProfilePolicy) -> list[str]:
    """What is wrong with an answer, by numbers and limits; nothing of its text is quoted."""
    members = _Members(crowds)
    left = {crowd.topic: len(crowd.members) for crowd in crowds}
    faults = []
    for number, join in enumerate(joins):
        problem = members.refuse(join)
        if problem:
            faults.append(f"joins.{number}.members: {problem}")
            continue
        chosen = members.take(join)
        left[chosen[0].topic] -= len(chosen) - 1
        missing = [index for index in join.members if not mentions(join.memo, members.entries[index].content)]
        if missing:
            faults.append(f"joins.{number}.memo: leaves out {', '.join(map(str, missing))}")
        if tokens_of(join.memo) > policy.max_memo_tokens:
            faults.append(f"joins.{number}.memo: is too long")
    faults.extend(
        f"topic {number + 1} may keep {crowd.most} numbers, these joins leave {left[crowd.topic]}"
        for number, crowd in enumerate(crowds)
        if left[crowd.topic] > crowd.most
    )
    return faults


def join_entries(draft: Draft, crowds: Sequence[Crowd], joins: Sequence[Join], policy: ProfilePolicy) -> Draft:
    """The draft with the joins; they touch nothing but members.

    A join that cannot be followed is left out. Where its memo leaves a member out, the members' own texts are joined in
    its place. A topic that stays far above the limit is organized by rule.
    """
    draft = _follow(draft, crowds, joins, policy)
    hard_limit = HARD_LIMIT * policy.max_sub_topics
    crowded = [crowd for crowd in crowds_of(draft, policy) if _count(draft, crowd.topic) > hard_limit]
    return _follow(draft, crowded, joins_by_rule(crowded), policy) if crowded else draft


def _follow(draft: Draft, crowds: Sequence[Crowd], joins: Sequence[Join], policy: ProfilePolicy) -> Draft:
    members = _Members(crowds)
    for join in joins:
        if members.refuse(join):
            continue
        chosen = members.take(join)
        name = _name(draft, chosen, join.sub_topic, policy)
        memo = join.memo.strip()
        lossy = not normalise(memo) or any(not mentions(memo, member.content) for member in chosen)
        if lossy or tokens_of(memo) > policy.max_memo_tokens:
            memo = _joined_text(chosen, name)
        draft = _join(draft, chosen, name, memo)
    return draft


def joins_by_rule(crowds: Sequence[Crowd]) -> list[Join]:
    """For each crowd the sub-topics last spoken of longest ago in one, as many as are too many; of equals the shorter.

    Each piece says where it comes from, so that nothing is lost and the same fact is known again.
    """
    joins = []
    first = 0
    for crowd in crowds:
        other = [entry for entry in crowd.members if entry.sub_topic == OTHER]
        oldest = sorted(
            (entry for entry in crowd.members if entry not in other and entry.name not in crowd.fixed),
            key=lambda entry: (entry.occurred_at, len(entry.content), entry.sub_topic),
        )
        chosen = [*other, *oldest[: len(crowd.members) - crowd.most + 1 - len(other)]]
        if len(chosen) > 1:
            numbers = tuple(first + crowd.members.index(entry) for entry in chosen)
            joins.append(Join(numbers, OTHER, _joined_text(chosen, OTHER)))
        first += len(crowd.members)
    return joins


def note_crowds(draft: Draft, policy: ProfilePolicy) -> Draft:
    """The draft with the topics noted that this update leaves over the limit."""
    joinable = {crowd.topic for crowd in crowds_of(draft, policy)}
    over = [topic for topic in _changed_topics(draft) if _count(draft, topic) > policy.max_sub_topics]
    notes = [OverLimit(topic, None, "not-joined" if topic in joinable else "configured") for topic in over]
    return draft.put({}, over_limit=notes)


class _Members:
    """The members of all crowds by their numbers, each to be joined once."""

    def __init__(self, crowds: Sequence[Crowd]) -> None:
        self.entries = [member for crowd in crowds for member in crowd.members]
        self._fixed = frozenset(name for crowd in crowds for name in crowd.fixed)
        self._taken: set[int] = set()

    def take(self, join: Join) -> list[Entry]:
        """The members of a join that is not refused, the one whose name is fixed first."""
        self._taken.update(join.members)
        chosen = [self.entries[index] for index in join.members]
        return sorted(chosen, key=lambda entry: entry.name not in self._fixed)

    def refuse(self, join: Join) -> str:
        """Why the join cannot be followed, empty where it can."""
        numbers = join.members
        if any(not 0 <= index < len(self.entries) for index in numbers):
            return f"must be numbers from 0 to {len(self.entries) - 1}"
        if len(set(numbers)) < len(numbers) or self._taken & set(numbers):
            return "must name each number in one join only"
        if len(numbers) < 2:
            return "must be two or more"
        names = [self.entries[index].name for index in numbers]
        if len({topic for topic, _ in names}) > 1:
            return "must be of one topic"
        if len(self._fixed.intersection(names)) > 1:
            return "must not hold two that are marked with *"
        return ""


def _changed_topics(draft: Draft) -> list[str]:
    return list(dict.fromkeys(entry.topic for entry in draft.entries if entry.why and entry.is_changed))


def _count(draft: Draft, topic: str) -> int:
    return sum(entry.topic == topic for entry in draft.entries)


def _crowd(draft: Draft, topic: str, policy: ProfilePolicy) -> Crowd | None:
    entries = [entry for entry in draft.entries if entry.topic == topic]
    # Joined with others, a single value could not be replaced by a newer one any more.
    members = tuple(entry for entry in entries if not policy.single_valued(*entry.name))
    fixed = frozenset(entry.name for entry in members if policy.slot(*entry.name) is not None)
    over = len(entries) - policy.max_sub_topics
    if over <= 0 or len(members) < 2 or len(fixed) == len(members):
        return None
    return Crowd(topic, members, fixed, max(1, len(fixed), len(members) - over))


def _name(draft: Draft, members: Sequence[Entry], wanted: str, policy: ProfilePolicy) -> str:
    """The name that is wanted, if it is free for this: another slot's content must not be written over."""
    topic, own = members[0].topic, [member.sub_topic for member in members]
    others = [entry for entry in draft.entries if entry.topic == topic and entry not in members]
    # Also the names of stored slots that were joined elsewhere: one slot cannot be deleted and created at once.
    taken = {entry.sub_topic for entry in others} | {slot.sub_topic for entry in others for slot in entry.stored}
    if policy.slot(topic, own[0]) is not None or not wanted or wanted in taken:
        return own[0]
    return wanted if policy.allows(topic, wanted) and not policy.single_valued(topic, wanted) else own[0]


def _joined_text(members: Iterable[Entry], sub_topic: str) -> str:
    """The members' pieces, each with a label of where it comes from, but for those that stood in `sub_topic` before."""
    pieces: list[str] = []
    for member in members:
        labelled = label(member.sub_topic, member.content)
        pieces.extend(pieces_of(member.content) if member.sub_topic == sub_topic else labelled)
    return join_memos({normalise(piece): piece for piece in pieces}.values())


def _join(draft: Draft, members: Sequence[Entry], sub_topic: str, memo: str) -> Draft:
    topic = members[0].topic
    slots = [slot for member in members for slot in member.stored]
    own = next((slot for slot in slots if slot.sub_topic == sub_topic), None)
    changed: dict[SlotName, Entry | None] = {member.name: None for member in members}
    changed[topic, sub_topic] = Entry(
        topic=topic,
        sub_topic=sub_topic,
        content=memo,
        slot=own,
        facts=tuple(dict.fromkeys(fact for member in members for fact in member.facts)),
        joined=tuple(slot for slot in slots if slot is not own),
        why="organize",
    )
    return draft.put(changed)
