"""Texts of memos: compared, cut into pieces, joined and measured."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from schemas.tokens import estimate_tokens

SEPARATOR: Final = "; "

_CJK: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
# So many characters of a word tell it, whatever its ending.
_STEM_CHARACTERS: Final = 4


def normalise(text: str) -> str:
    """A form in which texts that differ in case, width, punctuation and spacing only are equal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip() or folded.strip()


def equal(known: str, memo: str) -> bool:
    return normalise(known) == normalise(memo)


def pieces_of(content: str) -> list[str]:
    """What a memo says, one statement a piece."""
    return [piece.strip() for piece in re.split(r"[;；]", content) if piece.strip()]


def join_memos(memos: Iterable[str]) -> str:
    return SEPARATOR.join(memos)


def label(sub_topic: str, memo: str) -> list[str]:
    """The pieces of a memo as they stand in a slot that others are joined into: each says where it comes from."""
    return [f"{sub_topic}: {piece}" for piece in pieces_of(memo) or [memo.strip()]]


def unlabel(sub_topic: str, piece: str) -> str:
    """What a piece says of the sub-topic whose label it has; empty where it has another or none."""
    return piece.removeprefix(f"{sub_topic}: ") if piece.startswith(f"{sub_topic}: ") else ""


def tokens_of(memo: str) -> int:
    """As `max_pre_profile_token_size` counts: estimated, and on the high side."""
    return estimate_tokens(memo)


def contains(text: str, memo: str) -> bool:
    """True where the text holds every piece of the memo word by word."""
    held = f" {normalise(text)} "
    # Chinese is written without blanks, so that its pieces have no borders to look for.
    return all(
        normalise(piece) in held if _CJK.search(piece) else f" {normalise(piece)} " in held for piece in pieces_of(memo)
    )


def mentions(text: str, memo: str) -> bool:
    """True where most words of every piece are in the text in some form: it misses what is left out, not rewording."""
    held, said = normalise(text), _words(text)
    wanted = [(normalise(piece), _words(piece)) for piece in pieces_of(memo) or [memo]]
    return all(2 * len(words & said) > len(words) or piece in held for piece, words in wanted)


def _words(text: str) -> frozenset[str]:
    words: set[str] = set()
    for word in normalise(text).split():
        words.update(_CJK.findall(word))
        words.update(part[:_STEM_CHARACTERS] for part in _CJK.sub(" ", word).split())
    return frozenset(words)
