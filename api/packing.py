"""The text of a context: profile and events within a budget of tokens, in Memobase's words."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from api.lines import gist_line, profile_line
from api.profile_filter import within
from schemas.errors import InvalidRecord
from schemas.tokens import TokenCounter
from storage.recall import Entry, RecentGist

Language = Literal["en", "zh"]

_TEMPLATES: Final[dict[Language, str]] = {
    "en": """---
# Memory
Unless the user has relevant queries, do not actively mention those memories in the conversation.
## User Current Profile:
{profile_section}

## Past Events:
{event_section}
---
""",
    "zh": """---
# 记忆
除非用户有相关的需求，否则不要主动在对话中提到这些记忆.
## 用户当前状态：
{profile_section}

## 过去事件：
{event_section}
---
""",
}

# What Memobase puts where a profile is empty.
_NO_ENTRY: Final = "- "
_BRACES: Final = re.compile(r"\{\{|\}\}|\{(?:profile|event)_section\}|[{}]")


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens of both sections together, and of the profile's.

    Events are given what the profile leaves with `fill_with_events`, else no more than their own share.
    """

    max_tokens: int
    profile_ratio: float = 0.6
    fill_with_events: bool = False

    @property
    def profile_tokens(self) -> int:
        return max(0, int(self.max_tokens * self.profile_ratio))

    def event_tokens(self, used_by_profile: int) -> int:
        left = self.max_tokens - used_by_profile
        return left if self.fill_with_events else min(left, self.max_tokens - self.profile_tokens)


@dataclass(frozen=True, slots=True)
class Packed:
    """What fits: the two sections, what stands in them, and their tokens."""

    profile_section: str
    event_section: str
    entries: tuple[Entry, ...]
    gists: tuple[RecentGist, ...]
    profile_tokens: int
    event_tokens: int


def pack(entries: Sequence[Entry], gists: Sequence[RecentGist], budget: Budget, count: TokenCounter) -> Packed:
    """Entries and gists in their order, as many as the budget holds; both sections are never longer than it.

    A line is counted with its mark and its line break, as it stands in the text.
    """
    profile_lines = (f"- {profile_line(entry.topic, entry.sub_topic, entry.content)}" for entry in entries)
    profile_section, kept, profile_tokens = _section(profile_lines, budget.profile_tokens, count)
    if not kept and 0 < count(_NO_ENTRY) <= budget.profile_tokens:
        profile_section, profile_tokens = _NO_ENTRY, count(_NO_ENTRY)
    event_lines = (gist_line(gist.text, gist.occurred_at) for gist in gists)
    event_budget = budget.event_tokens(profile_tokens)
    event_section, told, event_tokens = _section(event_lines, event_budget, count, pass_over_first=False)
    return Packed(
        profile_section=profile_section,
        event_section=event_section,
        entries=tuple(entries[index] for index in kept),
        gists=tuple(gists[index] for index in told),
        profile_tokens=profile_tokens,
        event_tokens=event_tokens,
    )


def compose(packed: Packed, language: Language, template: str | None = None) -> str:
    """The context in Memobase's words, or in the caller's `template`, unless that is empty.

    Raises InvalidRecord for a stray brace.
    """
    sections = {"{profile_section}": packed.profile_section, "{event_section}": packed.event_section}
    return fill(template or _TEMPLATES[language], sections)


def fill(template: str, sections: dict[str, str]) -> str:
    """Placeholders replaced, `{{` and `}}` as single braces; what a section holds is never read as a template."""

    def replacement(match: re.Match[str]) -> str:
        found = match[0]
        if found in sections:
            return sections[found]
        if found in ("{{", "}}"):
            return found[0]
        raise InvalidRecord(
            "bad-template",
            "customize_context_prompt: braces may hold profile_section and event_section only; write {{ and }} for "
            "braces",
        )

    return _BRACES.sub(replacement, template)


def _section(
    lines: Iterable[str], budget: int, count: TokenCounter, *, pass_over_first: bool = True
) -> tuple[str, list[int], int]:
    """The text, which lines it holds, and its tokens: counted line by line, which is no less than as a whole.

    Lines are asked for as far as they may fit.
    """
    seen: list[str] = []

    def sizes() -> Iterator[int]:
        for line in lines:
            seen.append(line)
            yield count(f"{line}\n")

    taken, tokens = within(sizes(), budget, pass_over_first=pass_over_first)
    return "\n".join([seen[index] for index in taken]), taken, tokens
