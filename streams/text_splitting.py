"""Where a long text is cut: at the best border within reach, in work that grows with the text only."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

from schemas.tokens import TokenCounter, estimate_tokens

# As many as one token of the estimate holds at most; further on nothing need be looked at.
CHARACTERS_AHEAD_PER_TOKEN: Final = 3
# A mark that belongs to the character before it is looked for no further back than this.
MAX_CLUSTER_CHARACTERS: Final = 32

# Tried in this order; a part ends behind the last match in its second half. Possessive, so that no run is read twice.
BORDERS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n(?:[ \t\r]*+\n)++",
        r"\n",
        # Not behind initials, numbers of a list or "e.g.", which have no two letters before their stop.
        r"(?<=[^\s.!?…]{2})[.!?…]++[\"'”’»)\]]*+\s++|[。！？…]++[”’」』）】]*+",
        r"[;,:]\s++|[；，、：]",
        r"\s++",
    )
)
_JOINER: Final = "\u200d"
_SKIN_TONES: Final = ("\U0001f3fb", "\U0001f3ff")


def split_text(text: str, limit_tokens: int, count: TokenCounter = estimate_tokens) -> Iterator[str]:
    """Cut a text into parts of at most `limit_tokens` each, never below one character; joined they are the text.

    A part ends behind a paragraph, line, sentence, clause or word where one ends in its second half; else between
    two characters that do not belong together.
    """
    start = 0
    while start < len(text):
        ahead = text[start : start + limit_tokens * CHARACTERS_AHEAD_PER_TOKEN]
        tokens = count(ahead)
        is_rest = start + len(ahead) == len(text)
        if tokens <= limit_tokens and is_rest:
            yield ahead
            return
        length = len(ahead)
        while length > 1 and tokens > limit_tokens:
            # A little less than in proportion, so that few steps do where the text is of uneven density.
            length = max(1, length * limit_tokens // tokens - length // 64)
            tokens = count(ahead[:length])
        cut = _border(text, start, start + length)
        yield text[start:cut]
        start = cut


def fit_text(text: str, room_tokens: int, fits: Callable[[str], bool]) -> Iterator[str]:
    """Parts that all fit, or have one character. They are cut by the estimate, whoever counts in `fits`.

    So a worker that could not load a vocabulary cuts the same parts as one that could, as long as they fit.
    """
    for part in split_text(text, room_tokens):
        if len(part) == 1 or fits(part):
            yield part
        elif room_tokens == 1:
            yield from part
        else:
            yield from fit_text(part, room_tokens // 2, fits)


def _border(text: str, start: int, end: int) -> int:
    middle = start + (end - start) // 2
    for border in BORDERS:
        cut = 0
        for match in border.finditer(text, middle, end):
            cut = match.end()
        if cut:
            return cut
    cut = end
    while cut - 1 > max(start, end - MAX_CLUSTER_CHARACTERS) and _belong_together(text, cut):
        cut -= 1
    return end if _belong_together(text, cut) else cut


def _belong_together(text: str, cut: int) -> bool:
    """Whether a cut here would take a mark, a skin tone or a joined picture off its character."""
    if cut >= len(text):
        return False
    before, after = text[cut - 1], text[cut]
    return (
        unicodedata.category(after).startswith("M")
        or _JOINER in (before, after)
        or _SKIN_TONES[0] <= after <= _SKIN_TONES[1]
    )
