"""Words that a model says it quotes: kept only where they stand in a message, and then as they stand there."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from schemas.conversation import Message
from schemas.memory import Quote
from schemas.windows import MessageId

# Of a longer quote its beginning is kept: it says where to look, and is no copy of the conversation.
MAX_QUOTE_CHARACTERS: Final = 300
# Inside of so many longer words they are looked for; a text that repeats one letter holds a quote at every place.
MAX_PLACES: Final = 1000

BLANK: Final = " "
# Marks that keyboards and models write in different ways, by what they all count as.
_SAME_MARK: Final = {
    mark: meaning
    for meaning, marks in {"'": "‘’‚‛`´′＇", '"': "“”„‟«»‹›「」『』″＂", "-": "‐‑‒–—―−－"}.items()
    for mark in marks
}
_CASED_OR_NUMBER: Final = ("Lu", "Ll", "Lt", "Lm", "Nd", "Nl", "No")
_UNSEEN: Final = ("Cc", "Cf")


@dataclass(frozen=True, slots=True)
class _Normal:
    """A text in normal form, and for each character of that the span of the text that it comes from."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]


class QuoteFinder:
    """Finds words in the messages of one conversation, each of which it reads once."""

    def __init__(self) -> None:
        self._normal: dict[MessageId, _Normal] = {}

    def find(self, words: str | None, messages: Iterable[Message]) -> Quote | None:
        """The first of the messages that holds the words, and what stands there; None if none does."""
        wanted = _wanted(words or "")
        if not wanted:
            return None
        for message in messages:
            normal = self._normal.get(message.message_id)
            if normal is None:
                normal = self._normal[message.message_id] = _normal_of(message.content)
            if span := _find(wanted, normal):
                start, end = span
                return Quote(message.message_id, message.content[start : min(end, start + MAX_QUOTE_CHARACTERS)])
        return None


def find_span(words: str, text: str) -> tuple[int, int] | None:
    """Where the words first stand in the text, from and to; None if they do not.

    White space, case, width, the shape of quotation marks and dashes, and marks around the words make no difference.
    Words begin and end where words of the text do.
    """
    wanted = _wanted(words)
    return _find(wanted, _normal_of(text)) if wanted else None


def _find(wanted: str, normal: _Normal) -> tuple[int, int] | None:
    start = -1
    for _ in range(MAX_PLACES):
        start = normal.text.find(wanted, start + 1)
        if start < 0:
            break
        end = start + len(wanted)
        if _is_border(normal, start) and _is_border(normal, end):
            return normal.starts[start], normal.ends[end - 1]
    return None


def _wanted(words: str) -> str:
    """The normal form without marks and blanks around it; empty where nothing else is in it."""
    normal = "".join(part for part, _, _ in _parts(words))
    inner = [index for index, character in enumerate(normal) if _is_word(character)]
    return normal[inner[0] : inner[-1] + 1] if inner else ""


def _normal_of(text: str) -> _Normal:
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for part, start, end in _parts(text):
        parts.append(part)
        starts.extend([start] * len(part))
        ends.extend([end] * len(part))
    return _Normal("".join(parts), tuple(starts), tuple(ends))


def _parts(text: str) -> Iterator[tuple[str, int, int]]:
    """Normal forms of the text's characters, each with the marks that combine with it, and where they stand."""
    start = 0
    is_blank = False
    while start < len(text):
        end = start + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        part = _folded(text[start:end])
        # A run of white space counts as one blank.
        if part and not (part == BLANK and is_blank):
            yield part, start, end
        is_blank = part == BLANK if part else is_blank
        start = end


def _folded(cluster: str) -> str:
    if cluster.isspace():
        return BLANK
    if cluster.isascii() and cluster.isalnum():
        return cluster.lower()
    marked = "".join(_SAME_MARK.get(character, character) for character in cluster)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", marked).casefold())
    kept = (_SAME_MARK.get(character, character) for character in folded)
    return "".join(c for c in kept if not c.isspace() and unicodedata.category(c) not in _UNSEEN)


def _is_word(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LNM" or category == "So"


def _is_border(normal: _Normal, place: int) -> bool:
    """Whether no character and no word of an alphabet goes on over this place."""
    if place in (0, len(normal.text)):
        return True
    if normal.starts[place - 1] == normal.starts[place]:
        return False
    before, after = (unicodedata.category(character) for character in normal.text[place - 1 : place + 1])
    # Scripts without upper and lower case, as Chinese, do not part words by blanks.
    return not (before in (*_CASED_OR_NUMBER, "Mn") and after in _CASED_OR_NUMBER)
