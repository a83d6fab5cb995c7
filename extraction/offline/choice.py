"""Which facts of one window the rules keep: none that another says already, and no long list of small ones."""

from collections.abc import Callable, Sequence
from typing import Final

from extraction.drafts import Dropped
from schemas.memory import Fact
from schemas.profile_schema import ProfilePolicy

# Of one window. What says who somebody is stays even beyond it; tastes and moods only fill it up.
MAX_FACTS: Final = 8
LIGHT_TOPICS: Final = frozenset(["interest", "psychological"])
LIGHT_SLOTS: Final = frozenset([("lifestyle", "circumstances"), ("work", "attitude"), ("family", "together")])
# Things and people that were only named, without a word on what they are.
NAMED_ONLY: Final = ("interest", "likes")

Covers = Callable[[str, str], bool]


def choose(facts: Sequence[Fact], policy: ProfilePolicy, covers: Covers) -> tuple[list[Fact], Dropped]:
    """The facts to merge, in their order, and the others with the reasons.

    Depends on the window alone, not on what is stored, so that the same window again changes nothing.
    """
    repeated = _repeated(facts, policy, covers)
    left = [fact for number, fact in enumerate(facts) if number not in repeated]
    light = [fact for fact in left if _is_light(fact)]
    room = max(0, MAX_FACTS - (len(left) - len(light)))
    # Sorting is stable: of equally telling ones the first said stay.
    too_many = sorted(light, key=lambda fact: _name(fact) == NAMED_ONLY)[room:]
    kept = [fact for fact in left if not any(fact is other for other in too_many)]
    dropped = [(facts[number], "repeated") for number in sorted(repeated)]
    return kept, (*dropped, *((fact, "full") for fact in too_many))


def _repeated(facts: Sequence[Fact], policy: ProfilePolicy, covers: Covers) -> set[int]:
    """Tastes that another one of the window says too, and more of it or first, be it in another slot."""
    tastes = [
        (number, fact)
        for number, fact in enumerate(facts)
        if fact.topic == "interest" and policy.allows(*_name(fact)) and not policy.single_valued(*_name(fact))
    ]
    found: set[int] = set()
    for number, fact in tastes:
        for other_number, other in tastes:
            if other_number == number or not covers(other.memo, fact.memo):
                continue
            # Of equal ones in one slot the merge knows which is newer.
            if not covers(fact.memo, other.memo) or (other_number < number and _name(other) != _name(fact)):
                found.add(number)
    return found


def _is_light(fact: Fact) -> bool:
    return fact.topic in LIGHT_TOPICS or _name(fact) in LIGHT_SLOTS


def _name(fact: Fact) -> tuple[str, str]:
    return fact.topic, fact.sub_topic
