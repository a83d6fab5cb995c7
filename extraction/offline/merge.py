"""The merge step by rules: newer single values replace older ones, everything else is gathered."""

import re
from dataclasses import replace
from typing import Final

from extraction.memos import normalise
from extraction.merge import Answer, MergePlan, OpenSlot, plan_merge
from extraction.offline.choice import choose
from extraction.offline.wording import FILLING, stem, stems
from schemas.memory import Extraction, Profile
from schemas.profile_schema import ProfilePolicy

_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")
_NEGATIONS: Final = frozenset(
    map(stem, ["not", "no", "never", "doesn", "t", "don", "can", "without", "didn", "hardly"])
)


def plan_by_rules(extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MergePlan:
    """The plan without facts that say less than what is known, nor more of them than a window is worth."""
    facts, dropped = choose(extraction.facts, policy, covers)
    plan = plan_merge(facts, profile, policy, covers)
    return replace(plan, dropped=(*dropped, *plan.dropped))


def answer_by_rule(item: OpenSlot, policy: ProfilePolicy) -> Answer:
    # Rules cannot tell whether a new value is right.
    if item.slot is not None and policy.single_valued(item.topic, item.sub_topic):
        return Answer("update", item.facts[-1].memo)
    return Answer("append")


def covers(known: str, memo: str) -> bool:
    """True where `known` holds all that `memo` says: its telling words, and as many negations."""
    if _CHINESE.search(memo):
        return normalise(memo) == normalise(known)
    known_words, words = stems(known), stems(memo)
    if not words - FILLING:
        return normalise(memo) == normalise(known)
    return words - FILLING <= known_words and words & _NEGATIONS == known_words & _NEGATIONS
