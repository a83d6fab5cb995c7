"""What a rule finds in a clause, and the cutting of messages into sentences."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_MEMO_CHARACTERS: Final = 160
# Text that goes on for longer than this without a full stop is no speech; rules would only crawl through it.
MAX_SENTENCE_CHARACTERS: Final = 600

# A full stop within a word or behind an initial ("J. Cole") ends nothing.
_SENTENCES: Final = re.compile(
    r"[^.!?。！？\n…]+(?:(?:\.(?=\w)|(?<=\s[A-HJ-Z])\.(?= [A-Z]))[^.!?。！？\n…]+)*[.!?。！？…]*"
)


_ASKED_BEHIND: Final = re.compile(
    r"(?:,| and| but| so) (?:and |but |so )?(?:what|how|where|who|which|why|when|do|does|did|are|is|have|can|could"
    r"|would)(?:'s|'re)? (?:about |else |kind of |is |are |do |does |did |have )?"
    r"(?:your?|they|he|she|it|that|yours)\b.*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that the user said about themselves; `event` is set where something happened.

    `liked` is what a taste is for; `sentence` is where it was said, word by word.
    """

    topic: str
    sub_topic: str
    memo: str
    event: str | None = None
    liked: str | None = None
    sentence: str = ""


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text with their closing marks; questions and overlong ones are left out."""
    for match in _SENTENCES.finditer(text):
        sentence = match.group().strip()
        if not sentence or len(sentence) > MAX_SENTENCE_CHARACTERS:
            continue
        if not sentence.rstrip("\"'”’)").endswith(("?", "？")):
            yield sentence
        # "I'm George, what's your name?"
        elif asked := _ASKED_BEHIND.search(sentence):
            yield sentence[: asked.start()]


def shorten(memo: str) -> str:
    """The memo, without `;` (which separates the pieces of a slot) and cut at a word near the limit."""
    memo = re.sub(r"\s*[;；]\s*", ", ", memo).strip(" ,.!。！，、…")
    if memo.count('"') == 1:
        # Its other half was at the border of the sentence.
        memo = memo.replace('"', "") if memo.startswith('"') else memo + '"'
    if len(memo) <= MAX_MEMO_CHARACTERS:
        return memo
    head, _, _ = memo[:MAX_MEMO_CHARACTERS].rpartition(" ")
    return head or memo[:MAX_MEMO_CHARACTERS]
