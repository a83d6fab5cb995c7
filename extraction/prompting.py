"""Prompts: loaded from text files, filled in, and hashed for provenance."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache, lru_cache
from importlib.resources import files
from string import Template
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel

from extraction.compact import LongMemo
from extraction.merge import OpenSlot
from extraction.organize import Crowd
from extraction.replies import CompactReply, ExtractReply, MergeReply, OrganizeReply, strict_schema
from extraction.slots import described, render_slots
from schemas.conversation import Message
from schemas.memory import Profile
from schemas.profile_schema import ProfilePolicy

Language = Literal["en", "zh"]
PromptName = Literal[
    "role",
    "extract",
    "extract_input",
    "slot_rule",
    "slot_rule_strict",
    "tag_field",
    "tag_rule",
    "tags",
    "theme",
    "source_summary",
    "source_doc",
    "source_code",
    "source_transcript",
    "source_image",
    "merge",
    "merge_input",
    "merge_slots",
    "organize",
    "organize_input",
    "compact",
    "compact_input",
    "repair",
    "schema",
    "pick",
    "pick_input",
    "interest",
    "interest_input",
    "topic",
    "topic_input",
    "lead",
]

LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
PROMPT_NAMES: Final[tuple[PromptName, ...]] = get_args(PromptName)
# Asked when memory is read: they make nothing that is stored.
READING_PROMPTS: Final[frozenset[PromptName]] = frozenset(
    {"pick", "pick_input", "interest", "interest_input", "topic", "topic_input", "lead"}
)

# What the messages of a blob that is no chat are, and which of it counts; chats are what the fixed part is about.
_SOURCES: Final[dict[str, PromptName]] = {
    "summary": "source_summary",
    "doc": "source_doc",
    "code": "source_code",
    "transcript": "source_transcript",
    "image": "source_image",
}

# Whose fixed parts are remembered.
MAX_POLICIES: Final = 256
# Dates of one window whose weekdays are named.
MAX_WEEKDAYS: Final = 62

_WEEKDAYS: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "zh": ("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
}
_DATE: Final = re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})(?![0-9])")
_CJK: Final = re.compile(r"[\u3400-\u9fff]")
_LATIN: Final = re.compile(r"[A-Za-z]")


@cache
def load(language: Language, name: PromptName) -> str:
    return files("extraction").joinpath("prompts", language, f"{name}.txt").read_text(encoding="utf-8")


def render(language: Language, name: PromptName, **values: str) -> str:
    """The prompt with its placeholders filled in; raises KeyError where one has no value."""
    return Template(load(language, name)).substitute(values).strip()


def prompt_hash(policy: ProfilePolicy) -> str:
    """SHA-256 over all prompts of extraction in all languages, the reply schemas and the policy."""
    digest = hashlib.sha256()
    for language in LANGUAGES:
        for name in PROMPT_NAMES:
            if name in READING_PROMPTS:
                continue
            digest.update(f"{language}/{name}\n{load(language, name)}\n".encode())
    for model in (ExtractReply, MergeReply, OrganizeReply, CompactReply):
        digest.update(json.dumps(strict_schema(model), sort_keys=True).encode())
    digest.update(repr(policy).encode())
    return digest.hexdigest()


def language_of(texts: Iterable[str]) -> Language:
    """zh where Chinese characters outweigh Latin letters; a character is worth about two letters."""
    text = "\n".join(texts)
    return "zh" if 2 * len(_CJK.findall(text)) > len(_LATIN.findall(text)) else "en"


@lru_cache(MAX_POLICIES)
def extract_system(language: Language, policy: ProfilePolicy) -> str:
    """The fixed part, the same for every user of a policy, so that endpoints can cache it."""
    tags = "\n".join(f"- {described(tag.name, tag.description)}" for tag in policy.event_tags)
    return render(
        language,
        "extract",
        role=policy.system_prompt or load(language, "role").strip(),
        slot_rule=render(language, "slot_rule_strict" if policy.strict else "slot_rule"),
        slots=render_slots(policy.slots),
        tag_field=render(language, "tag_field") + (" " if language == "en" else "") if tags else "",
        tag_rule="\n- " + render(language, "tag_rule") if tags else "",
        tags="\n\n" + render(language, "tags", tags=tags) if tags else "",
        theme="\n" + render(language, "theme", theme=policy.event_theme) if policy.event_theme else "",
    )


def extract_input(language: Language, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> str:
    """The conversation, what its messages are, and the names in use that the fixed part lacks and the policy allows."""
    topics: dict[str, list[str]] = {}
    for slot in profile.slots:
        name = slot.topic, slot.sub_topic
        if policy.slot(*name) is None and policy.allows(*name):
            topics.setdefault(slot.topic, []).append(slot.sub_topic)
    known = "\n".join(f"- {topic}: {', '.join(sorted(names))}" for topic, names in sorted(topics.items()))
    text = "\n".join(f"{index} {_indent(message.render())}" for index, message in enumerate(messages))
    return render(
        language,
        "extract_input",
        known_slots=known or "-",
        weekdays=_weekdays(language, messages),
        sources=_sources(language, messages),
        boundary=boundary_of(text),
        messages=text,
    )


def extract_content(
    language: Language, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy
) -> str | list[dict[str, Any]]:
    """`extract_input`, and behind it each image after the number of its message, as chat endpoints take them.

    Raises InvalidRecord for what is no image.
    """
    text = extract_input(language, messages, profile, policy)
    images = [(index, message.image) for index, message in enumerate(messages) if message.image is not None]
    if not images:
        return text
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for index, image in images:
        parts.append({"type": "text", "text": f"{index}:"})
        parts.append({"type": "image_url", "image_url": {"url": image.address()}})
    return parts


@lru_cache(MAX_POLICIES)
def merge_system(language: Language, policy: ProfilePolicy) -> str:
    """The fixed part, the same for every user of a policy; rules on slots stand there only where it has any."""
    slots = [slot for topic in policy.slots for slot in topic.sub_topics]
    has_rules = policy.validate or any(
        slot.description or slot.update_description or slot.validate_value for slot in slots
    )
    return render(
        language,
        "merge",
        role=load(language, "role").strip(),
        words=_words(language, policy.max_memo_tokens),
        slot_rules="\n" + render(language, "merge_slots") if has_rules else "",
    )


def merge_input(language: Language, items: Sequence[OpenSlot]) -> str:
    lines = []
    for index, item in enumerate(items):
        lines.append(f"{index} {item.topic} / {item.sub_topic}")
        if item.rule is not None and item.rule.description:
            lines.append(f"  belongs: {item.rule.description}")
        if item.rule is not None and item.rule.update_description and item.slot is not None:
            lines.append(f"  join: {item.rule.update_description}")
        if item.slot is not None:
            lines.append(f"  remembered [{item.slot.occurred_at:%Y/%m/%d}]: {_indent(item.slot.content)}")
        lines.extend(f"  news [{fact.occurred_at:%Y/%m/%d}]: {_indent(fact.memo)}" for fact in item.facts)
    text = "\n".join(lines)
    return render(language, "merge_input", boundary=boundary_of(text), items=text)


def organize_system(language: Language, max_memo_tokens: int) -> str:
    role = load(language, "role").strip()
    return render(language, "organize", role=role, words=_words(language, max_memo_tokens))


def organize_input(language: Language, crowds: Sequence[Crowd]) -> str:
    """The members of all topics, numbered through; those marked with `*` keep their names."""
    lines = []
    index = 0
    for crowd in crowds:
        lines.append(f"{crowd.topic}: {crowd.goal}")
        for member in crowd.members:
            mark = "*" if member.name in crowd.fixed else ""
            said = f"{member.occurred_at:%Y/%m/%d}"
            lines.append(f"  {index} {member.sub_topic}{mark} [{said}]: {_indent(member.content)}")
            index += 1
    text = "\n".join(lines)
    return render(language, "organize_input", boundary=boundary_of(text), topics=text)


def compact_system(language: Language, max_memo_tokens: int) -> str:
    # Asked for with room to spare, so that the next statement does not make it too long again.
    words = _words(language, max_memo_tokens * 3 // 4)
    return render(language, "compact", role=load(language, "role").strip(), words=words)


def compact_input(language: Language, items: Sequence[LongMemo]) -> str:
    lines = []
    for index, item in enumerate(items):
        lines.append(f"{index} {item.entry.topic} / {item.entry.sub_topic}: {_indent(item.entry.content)}")
        lines.extend(f"  keep: {_indent(fact.memo)}" for fact in item.keep)
    text = "\n".join(lines)
    return render(language, "compact_input", boundary=boundary_of(text), memos=text)


def repair(language: Language, error: str) -> str:
    return render(language, "repair", error=error)


def schema_part(language: Language, model: type[BaseModel]) -> str:
    """The end of the fixed part for endpoints that are not given the schema beside the prompt."""
    return render(language, "schema", schema=json.dumps(strict_schema(model), separators=(",", ":")))


def _words(language: Language, tokens: int) -> str:
    """A limit as models can keep it: an English word is about two of our estimated tokens, a Chinese character one."""
    return str(max(1, tokens if language == "zh" else tokens // 2))


def _weekdays(language: Language, messages: Sequence[Message]) -> str:
    """The dates that stand before messages, with their weekdays, for a model that is to know what next Friday is."""
    found: dict[str, None] = {}
    for message in messages:
        text, day = f"{message.occurred_at:%Y/%m/%d}", message.occurred_at.date()
        if message.said_at is not None:
            match = _DATE.match(message.said_at.strip())
            if match is None:
                continue
            try:
                text, day = match[0], date(int(match[1]), int(match[2]), int(match[3]))
            except ValueError:
                continue
        found[f"{text} {_WEEKDAYS[language][day.weekday()]}"] = None
    return ", ".join(list(found)[:MAX_WEEKDAYS]) or "-"


def _sources(language: Language, messages: Sequence[Message]) -> str:
    roles = {message.role for message in messages}
    lines = [f"- {render(language, name)}" for role, name in _SOURCES.items() if role in roles]
    return "\n\n" + "\n".join(lines) if lines else ""


def boundary_of(text: str) -> str:
    """A line that the text does not hold."""
    # Drawn from the text itself, so that no text can hold its own boundary and pretend to end.
    return f"===== {hashlib.sha256(text.encode()).hexdigest()[:16]} ====="


def _indent(text: str) -> str:
    return "\n    ".join(text.splitlines())
