"""The extract step by rules: statements of the user become facts, what happened becomes gists."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from extraction.offline import rules_en, rules_zh
from extraction.offline.statements import Statement
from extraction.offline.wording import said_of_oneself, stems, telling_stems
from extraction.quotes import QuoteFinder
from schemas.conversation import Message
from schemas.memory import Extraction, Fact, Gist

# Assistants, systems and tools speak about other things than their user; code is no speech.
_NOT_THE_USER: Final = frozenset({"assistant", "system", "developer", "tool", "function", "code", "agent", "bot", "ai"})
_THE_USER: Final = frozenset({"user", "me", "customer", "用户", "我"})
_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")
_SUMMARY_CHARACTERS: Final = 200


def extract_by_rules(messages: Sequence[Message]) -> Extraction:
    """Facts in the order said, each with the one message that it was found in; deterministic."""
    facts: list[Fact] = []
    gists: list[Gist] = []
    finder = QuoteFinder()
    of_the_user = {message.message_id for message in _of_the_user(messages)}
    heard = ""
    for message in messages:
        if message.message_id not in of_the_user:
            heard = f"{heard} {message.content}"
            continue
        answered, heard = heard, ""
        for found in _statements(message.content):
            if found.liked is not None and _only_agrees(found.liked, answered):
                continue
            source = (message.message_id,)
            quote = finder.find(found.sentence, [message])
            facts.append(Fact(found.topic, found.sub_topic, found.memo, source, message.occurred_at, quote))
            if found.event is not None:
                gists.append(Gist(found.event, source, message.occurred_at, quote=quote))
    if not facts:
        return Extraction()
    return Extraction(
        facts=tuple(facts),
        gists=tuple({gist.text: gist for gist in reversed(gists)}.values())[::-1],
        summary=_summary(facts),
        occurred_at=max(message.occurred_at for message in messages),
    )


def _only_agrees(liked: str, answered: str) -> bool:
    """Whether others have just said that they like the same: to agree is a courtesy, and tells little."""
    if _CHINESE.search(liked):
        return re.search(f"我[^。！？，]*{re.escape(liked)}", answered) is not None
    wanted = telling_stems(liked)
    return bool(wanted) and wanted <= stems(said_of_oneself(answered))


def _of_the_user(messages: Sequence[Message]) -> list[Message]:
    spoken = [message for message in messages if not {message.role.lower(), _speaker(message)} & _NOT_THE_USER]
    # Where a transcript names the user, the other speakers' "I" is somebody else.
    if any(message.role == "transcript" and _speaker(message) in _THE_USER for message in spoken):
        return [message for message in spoken if message.role != "transcript" or _speaker(message) in _THE_USER]
    return spoken


def _speaker(message: Message) -> str:
    return (message.alias or "").lower() if message.role == "transcript" else ""


def _statements(text: str) -> Iterable[Statement]:
    return rules_zh.statements(text) if _CHINESE.search(text) else rules_en.statements(text)


def _summary(facts: Sequence[Fact]) -> str:
    chinese = any(_CHINESE.search(fact.memo) for fact in facts)
    separator = "；" if chinese else "; "
    line = ""
    for fact in facts:
        longer = line + separator + fact.memo if line else fact.memo
        if len(longer) > _SUMMARY_CHARACTERS:
            break
        line = longer
    return line or facts[0].memo
