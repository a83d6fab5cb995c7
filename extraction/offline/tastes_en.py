"""English statements on what the user likes, loves, and is a fan of."""

import re
from typing import Final

from extraction.offline import lexicon_en as lexicon
from extraction.offline.chat_en import POINTS_ELSEWHERE, THIS_CHAT
from extraction.offline.clauses_en import statement
from extraction.offline.lexicon_en import has_any, interest_of, words_of
from extraction.offline.statements import Statement

FAN: Final = re.compile(
    r"(?:an? )?(?:(?:big|huge|great|real|true|die-?hard) )*"
    r"(?:fan of|fond of|crazy about|obsessed with|addicted to|into) (?P<liked>.+)"
)
# What is meant by "them" or "it" stands elsewhere.
_POINTS_BACK: Final = re.compile(r"\b(?:it|them|those|these|you|your)\b|\b(?:there|about)$")
_ANYTHING: Final = re.compile(
    r"(?:to \w+ |\w+ing )?(?:about |of |to )?"
    r"(?:(?:a lot of|lots of|all (?:kinds|sorts|types) of|many|some|a few|the|new|different|same|other|similar|fun"
    r"|cool|great|good|cute) )*"
    r"(?:things?|stuff|people|places|ones?|everything|anything|something|one)"
    r"|(?:to (?:keep|stay)|(?:keep|stay)ing) (?:\w+ )?(?:busy|active)|to (?:relax|have fun|go out|relax and have fun)"
)
# A title says nothing to who does not know it, unless a word tells what it is of.
_TITLE: Final = re.compile(r"[\"'“]")
_NAME: Final = re.compile(r"\b[A-Z][\w'-]*")


def liking(adverb: str, verb: str, rest: str, liked: str | None = None) -> Statement | None:
    """`liked` is what it is for, where that is not all of `rest`."""
    liked = rest if liked is None else liked
    if POINTS_ELSEWHERE.match(liked) or THIS_CHAT.match(liked) or _POINTS_BACK.search(liked):
        return None
    if _ANYTHING.fullmatch(liked) or _TITLE.match(liked):
        return None
    topic, sub_topic = _slot(liked)
    return statement(topic, sub_topic, adverb, verb, rest, liked=liked)


def _slot(liked: str) -> tuple[str, str]:
    if re.search(r"\b(?:my (?:job|work)|working (?:with|as|for|in))\b", liked):
        return "work", "attitude"
    # A name says nothing by the words in it ("Baby One More Time").
    words = words_of(_NAME.sub("", liked))
    sub_topic = interest_of(liked)
    if sub_topic is None and has_any(words, lexicon.FAMILY | lexicon.PARTNERS | lexicon.FRIENDS):
        return "family", "together"
    doing = liked.startswith("to ") or (words and words[0].endswith("ing"))
    return "interest", sub_topic or ("hobbies" if doing else "likes")
