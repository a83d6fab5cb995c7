"""English grammar of the rules: messages cut into clauses, and verbs turned to the third person."""

import re
from collections.abc import Iterator
from typing import Final

from extraction.offline.statements import Statement, shorten

ADVERBS: Final = (
    r"(?:also|really|just|actually|definitely|absolutely|kind of|kinda|sort of|even|do|truly|certainly"
    r"|totally|so|too"
    r"|personally|especially|particularly|very much|quite|both)"
)
KEPT_ADVERBS: Final = (
    r"(?:always|usually|often|sometimes|currently|mostly|mainly|still|only|never|recently|rarely"
    r"|occasionally|generally"
    r"|normally|once|already|secretly|regularly|typically|frequently|finally|now)"
)

_SPELLINGS: Final = (
    (re.compile(r"[’‘`]"), "'"),
    (re.compile(r"\b(?:i'm|im|i am)\b", re.IGNORECASE), "I am"),
    (re.compile(r"\b(?:i've|ive)\b", re.IGNORECASE), "I have"),
    (re.compile(r"\bwe're\b", re.IGNORECASE), "we are"),
    (re.compile(r"\bwe've\b", re.IGNORECASE), "we have"),
    (re.compile(r"\b(?:i'd|i would)\b", re.IGNORECASE), "I would"),
    (re.compile(r"\b(?:i'll|i will)\b", re.IGNORECASE), "I will"),
    (re.compile(r"\bi\b"), "I"),
    (re.compile(r"\bmy name's\b", re.IGNORECASE), "my name is"),
    (re.compile(r"\bfavourite\b", re.IGNORECASE), "favorite"),
)
# A part of the sentence that begins with another "I" or "my" is a statement of its own.
_CLAUSE_ENDS: Final = re.compile(
    r"\s*(?:[;:]|--|—|,?\s+(?:and|but|so|although|though|because|since|then|while)|,)\s+(?=(?:I|my|we)\s)",
    re.IGNORECASE,
)
_LEAD_IN: Final = re.compile(
    r"^(?:(?:oh|ah|aw|wow|well|yeah|yes|yep|yup|no|nope|nah|hi|hello|hey|hiya|there|cool|nice|great"
    r"|awesome|sure|ok|okay"
    r"|haha|lol|hmm|um|uh|thanks|thank you|actually|honestly|personally|also|so|and|but|plus|really"
    r"|me too|me neither"
    r"|same here|that's \w+|that is \w+|in fact|right now|currently|lately|these days|of course"
    r"|funny enough|as for me"
    r"|for me|well then|unfortunately|luckily|sadly|I see(?=,| that\b| I\b)|I agree|I think"
    r"|I guess|I know|I believe|I mean|I would say"
    r"|now|nowadays|at the moment|on (?:the )?weekends|in my (?:free|spare) time"
    r"|you know|to be honest|besides|then|because|since|although|though|yours truly)\b[,.!:\s-]*)+(?=\S)",
    re.IGNORECASE,
)
# Templates that were not filled in: `[name]`, `<city>`.
_PLACEHOLDER: Final = re.compile(r"[\[\]{}<>_()]|\buser ?\d", re.IGNORECASE)
_IRREGULAR: Final = {"am": "is", "have": "has", "do": "does", "go": "goes", "don't": "doesn't"}
_UNCHANGED: Final = frozenset(
    [
        "are",
        "can",
        "can't",
        "could",
        "couldn't",
        "was",
        "were",
        "did",
        "didn't",
        "used",
        "had",
        "got",
        "never",
        "grew",
        "won",
        "lost",
        "broke",
        "served",
        "became",
        "taught",
        "went",
        "took",
        "made",
        "met",
        "saw",
        "left",
        "began",
        "spent",
        "built",
        "bought",
        "drove",
        "flew",
        "ran",
        "sang",
        "swam",
        "wrote",
        "grew",
        "knew",
        "fought",
        "quit",
    ]
)


def clauses_of(sentence: str) -> Iterator[str]:
    """The clauses of a sentence without greetings and other lead-ins; contractions of "I" are written out."""
    for pattern, replacement in _SPELLINGS:
        sentence = pattern.sub(replacement, sentence)
    for part in _CLAUSE_ENDS.split(sentence):
        clause = _LEAD_IN.sub("", part.strip(" \"'.,!~-")).strip(" \"'.,!~-")
        if len(clause) >= 4 and not _PLACEHOLDER.search(clause):
            yield clause


def third_person(verb: str) -> str:
    """`play` -> `plays`; past forms and modal verbs stay."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if verb in _UNCHANGED or verb.endswith("ed"):
        return verb
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def statement(
    topic: str, sub_topic: str, adverb: str, verb: str, rest: str, *, happened: bool = False, liked: str | None = None
) -> Statement:
    memo = shorten(f"{adverb}{third_person(verb)} {rest}")
    return Statement(topic, sub_topic, memo, memo if happened else None, liked)
