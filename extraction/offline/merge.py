"""The merge step by rules: newer single values replace older ones, everything else is gathered."""

import re
from typing import Final

from extraction.memos import normalise
from extraction.merge import Answer, MergePlan, OpenSlot, plan_merge
from schemas.memory import Extraction, Profile
from schemas.profile_schema import ProfilePolicy

_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")
# Words that make no difference between two statements of a slot.
_FILLING_WORDS: Final = (
    "a an the to of in and or my is am are like love enjoy really also very some it s for with i lot too especially"
    " always just both"
)
_NEGATIONS: Final = frozenset(["not", "no", "never", "doesn", "t", "don", "can", "without", "didn", "hardly"])


def _stem(word: str) -> str:
    for ending in ("ing", "es", "s", "e"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            return word.removesuffix(ending) if ending != "ing" else _stem(word.removesuffix(ending))
    return word


_FILLING: Final = frozenset(_stem(word) for word in _FILLING_WORDS.split())


def plan_by_rules(extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MergePlan:
    """The plan without facts that say less than what is known."""
    return plan_merge(extraction.facts, profile, policy, covers)


def answer_by_rule(item: OpenSlot, policy: ProfilePolicy) -> Answer:
    # Rules cannot tell whether a new value is right.
    if item.slot is not None and policy.single_valued(item.topic, item.sub_topic):
        return Answer("update", item.facts[-1].memo)
    return Answer("append")


def covers(known: str, memo: str) -> bool:
    """True where `known` holds all that `memo` says: its telling words, and as many negations."""
    if _CHINESE.search(memo):
        return normalise(memo) == normalise(known)
    known_words, words = _stems(known), _stems(memo)
    if not words - _FILLING:
        return normalise(memo) == normalise(known)
    return words - _FILLING <= known_words and words & _NEGATIONS == known_words & _NEGATIONS


def _stems(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in normalise(text).split())
