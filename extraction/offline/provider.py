"""The offline provider's steps: rules that anybody can read, and no understanding."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from extraction.compact import LongMemo, Shortened, shorten_by_rule
from extraction.merge import Answer, MergePlan
from extraction.offline.merge import answer_by_rule, plan_by_rules
from extraction.organize import Crowd, Join, joins_by_rule
from schemas.conversation import Message
from schemas.memory import Extraction, ExtractorIdentity, Profile, Usage
from schemas.profile_schema import ProfilePolicy

RULES_VERSION: Final = "2"
_RULE_MODULES: Final = (
    "chat_en",
    "choice",
    "clauses_en",
    "extract",
    "lexicon_en",
    "merge",
    "people_en",
    "rules_en",
    "rules_zh",
    "statements",
    "tastes_en",
    "wording",
)


class OfflineSteps:
    """Finds English and Chinese first-person statements ("I have two dogs", "我住在上海") by patterns.

    It is no language model: it misses what is said in other ways and believes jokes. Same input, same facts.
    """

    async def extract(
        self,
        messages: Sequence[Message],
        profile: Profile,  # noqa: ARG002
        policy: ProfilePolicy,  # noqa: ARG002
    ) -> Extraction:
        # Imported late: the rules compile some hundred patterns, which a worker with a model never needs.
        from extraction.offline.extract import extract_by_rules

        return extract_by_rules(messages)

    def plan(self, extraction: Extraction, profile: Profile, policy: ProfilePolicy) -> MergePlan:
        return plan_by_rules(extraction, profile, policy)

    async def decide(self, plan: MergePlan, policy: ProfilePolicy) -> tuple[Sequence[Answer], Usage]:
        return [answer_by_rule(item, policy) for item in plan.open_slots], Usage()

    async def organize(
        self,
        crowds: Sequence[Crowd],
        policy: ProfilePolicy,  # noqa: ARG002
    ) -> tuple[Sequence[Join], Usage]:
        return joins_by_rule(crowds), Usage()

    async def compact(
        self, items: Sequence[LongMemo], policy: ProfilePolicy
    ) -> tuple[Sequence[Shortened | None], Usage]:
        return [shorten_by_rule(item.entry, policy.max_memo_tokens) for item in items], Usage()

    async def close(self) -> None:
        """Nothing is open."""


def offline_identity(version: str) -> Callable[[ProfilePolicy], ExtractorIdentity]:
    """The rules take the place of prompts: `prompt_hash` is that of the rule modules and the policy."""
    digest = hashlib.sha256()
    for name in _RULE_MODULES:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())

    def identity(policy: ProfilePolicy) -> ExtractorIdentity:
        of_policy = digest.copy()
        of_policy.update(repr(policy).encode())
        return ExtractorIdentity("offline", version, f"rules-{RULES_VERSION}", of_policy.hexdigest())

    return identity
