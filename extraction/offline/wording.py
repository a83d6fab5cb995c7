"""English words compared: their stems, and those that tell what a text is about."""

import re
from typing import Final

from extraction.memos import normalise

# Words that make no difference between two statements.
_FILLING_WORDS: Final = (
    "a an the to of in and or my is am are like love enjoy really also very some it s for with i lot too especially"
    " always just both"
)
_VOWELS: Final = "aeiou"
_QUESTION_OR_STATEMENT: Final = re.compile(r"[^.!?]+[.!?]*")
_OF_ONESELF: Final = re.compile(r"\b(?:I|I'm|my|we|me|mine|our)\b", re.IGNORECASE)


def stem(word: str) -> str:
    for ending in ("ing", "es", "s", "e"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            rest = word.removesuffix(ending)
            if ending != "ing":
                return rest
            # swimming is to swim as hiking is to hike.
            doubled = rest[-1] == rest[-2] and rest[-1] not in _VOWELS + "ls"
            return rest[:-1] if doubled else stem(rest)
    return word


def stems(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in normalise(text).split())


FILLING: Final = frozenset(stem(word) for word in _FILLING_WORDS.split())


def telling_stems(text: str) -> frozenset[str]:
    return stems(text) - FILLING


def said_of_oneself(text: str) -> str:
    """The sentences in which the speaker speaks of themselves, without questions."""
    found = (match.group().strip() for match in _QUESTION_OR_STATEMENT.finditer(text))
    return " ".join(part for part in found if not part.endswith("?") and _OF_ONESELF.search(part))
