"""English statements on what the user is, has and calls "my"."""

import re
from typing import Final

from extraction.offline import lexicon_en as lexicon
from extraction.offline.chat_en import (
    A_FEW,
    POINTS_ELSEWHERE,
    SMALL_TALK,
    SMALL_TALK_NOUNS,
    VAGUE_HEADS,
    VAGUE_STATE,
)
from extraction.offline.clauses_en import ADVERBS, statement
from extraction.offline.lexicon_en import has_any, interest_of, words_of
from extraction.offline.statements import Statement, shorten
from extraction.offline.tastes_en import FAN, liking

_AGE: Final = re.compile(
    r"(?:(?:about|almost|only|just|turning) )?"
    r"(?:(?P<years>\d{1,2})(?:$|,)|(?P<old>\d{1,3}|[a-z]+(?:[- ][a-z]+)?) years? (?:old|of age))"
)
_AGE_RANGE: Final = re.compile(r"in (?:my|our) ((?:early |mid |late )?(?:\w+ties|teens))\b")
_ADVERBS: Final = re.compile(rf"^(?:(?:{ADVERBS}|now) )+")
_MARITAL: Final = re.compile(
    r"(?:(?:happily|recently|newly|currently|still|not|never|a) )*"
    r"(?:married|single|divorced|divorcee|engaged|widowed|separated|widow|widower"
    r"|in an? (?:\w+ )*relationship)\b(?! (?:in|by|of|with it)\b)"
)
_NATIONALITY: Final = re.compile(
    r"(?:an? |originally )*([A-Z]\w+(?:an|ese|ish|ch|can)(?:[- ]American)?)(?: (?:citizen|immigrant|girl"
    r"|boy|man|woman|guy))?$"
)
_NAME: Final = re.compile(r"([A-Z][a-z]+(?: [A-Z][a-z]+)?)(?:$|,| (?:and|from|but)\b)")
# What was once says something about a life; most of what else "I was" belongs to a story that is being told.
_TELLING_PAST: Final = re.compile(
    r"(?:born|raised|adopted|married|divorced|diagnosed|fired|laid off|promoted|bullied|homeschooled|poor"
    r"|in (?:the )?"
    r"(?:army|military|navy|marines|air force|jail|prison|hospital|college|foster care)|(?:once "
    r"|formerly )?an? (?:\w+[ -]){0,3}\w+$"
    r"|(?:\w+ ){0,2}(?:raised|born|injured|homeless|overweight))\b"
)


def about_mine(rest: str) -> Statement | None:
    words = words_of(rest)
    if re.match(r"name is (?!user|jane doe)", rest, re.IGNORECASE):
        name = re.match(r"([A-Z][\w'-]+(?: [A-Z][\w'-]+)?)", rest[8:])
        return Statement("basic_info", "name", name.group(1)) if name else None
    if not re.search(
        r" (?:is|are|was|were|isn|aren|wasn|doesn|don|can|has|have|had|do|does|did"
        r"|work\w*|live\w*|drive\w*|drove|teach\w*|like\w*"
        r"|love\w*|died|passed|play\w*|own\w*|"
        r"make\w*|includes?|come\w*|run\w*|ran|served|taught|raised|used|left|got|\w+ed)\b",
        " " + " ".join(words[1:]),
    ):
        return None
    favorite = re.match(
        r"(?:all[- ]time |absolute |other |least |two |second )*favou?rites? ?(.*?) (?:is|are|was|were"
        r"|would|has)\b(.*)",
        rest,
        re.IGNORECASE,
    )
    if favorite:
        if not favorite[1] or POINTS_ELSEWHERE.match(favorite[2].strip() or "it"):
            return None
        return Statement("interest", interest_of(rest) or "favorites", shorten(rest))
    head = words[:3]
    owner = re.match(r"(\w+(?:[- ]\w+)?'s) ", rest)
    if (owner and words[1:2] == ["name"]) or re.search(
        r"^(?:name|life|day|pleasure|bad|point|guess|goodness|god|(?:main )?focus)\b"
        r"|\b(?:is|are) (?:calling|waiting|coming|here|fine|ready)\b",
        rest,
        re.IGNORECASE,
    ):
        return None
    if has_any(head, lexicon.PARTNERS):
        return Statement("family", "partner", shorten(rest))
    if has_any(head, lexicon.FAMILY):
        parents = has_any(head, frozenset(["mother", "mom", "mum", "father", "dad", "parent", "mama", "papa"]))
        children = has_any(head, frozenset(["son", "daughter", "kid", "child", "children", "baby", "toddler"]))
        return Statement("family", "parents" if parents else "children" if children else "relatives", shorten(rest))
    if has_any(head, lexicon.PETS):
        return Statement("lifestyle", "pets", shorten(rest))
    if has_any(head, lexicon.FRIENDS):
        return Statement("family", "friends", shorten(rest))
    if has_any(head, lexicon.WORK):
        return Statement("work", "job", shorten(rest))
    if has_any(head, lexicon.BODY):
        return Statement("basic_info", "appearance", shorten(rest))
    sub_topic = interest_of(rest)
    return (
        Statement("interest", sub_topic, shorten(rest))
        if sub_topic
        else Statement("lifestyle", "circumstances", shorten(rest))
    )


def favorite_thing(thing: str, plural: str | None, kind: str | None) -> Statement | None:
    """As if it were said with the favorite first."""
    thing = thing[0].lower() + thing[1:] if thing[1:].islower() else thing
    if POINTS_ELSEWHERE.match(thing) or re.match(r"(?:the|his|her|their|your|both|all|who|and)\b", thing):
        return None
    memo = f"favorite {kind} {'are' if plural else 'is'} {thing}" if kind else f"favorites are {thing}"
    return Statement("interest", interest_of(f"{thing} {kind or ''}") or "favorites", shorten(memo))


def being(adverb: str, verb: str, rest: str) -> Statement | None:
    rest = _ADVERBS.sub("", rest)
    lower = rest.lower()
    if verb == "am" and (age := _AGE.match(lower)):
        return Statement("basic_info", "age", f"{age['years'] or age['old']} years old")
    if verb == "am" and (span := _AGE_RANGE.match(lower)):
        return Statement("basic_info", "age", "in the " + span[1])
    if verb == "am" and _MARITAL.match(lower):
        return Statement("demographics", "marital_status", shorten(rest))
    if SMALL_TALK.match(lower) or VAGUE_STATE.search(lower):
        return None
    if verb in ("was", "were") and (not _TELLING_PAST.match(lower) or re.match(r"(?:an? )?(?:little|young)", lower)):
        return None
    if verb == "am" and (fan := FAN.fullmatch(rest)):
        return liking(adverb, verb, rest, fan["liked"])
    if place := re.match(r"(?:originally |actually )?from ((?!the (?:same|future)).+)", rest):
        return (
            None
            if POINTS_ELSEWHERE.match(place[1])
            else Statement("basic_info", "hometown", shorten("from " + place[1]))
        )
    if home := re.match(r"living in ([A-Z][\w.'-]*(?:,? [A-Z][\w.'-]*)*)", rest):
        return Statement("contact_info", "city", home[1])
    if re.match(r"born|raised", lower):
        return statement("basic_info", "hometown", adverb, verb, rest)
    if verb == "am" and (person := _NATIONALITY.match(rest)):
        return Statement("basic_info", "nationality", person[1])
    if verb == "am" and not adverb and (name := _NAME.match(rest)):
        return Statement("basic_info", "name", name[1])
    article = re.match(r"(?:an?|the|also an?) (.+)", lower)
    if article and (VAGUE_HEADS.match(article[1]) or POINTS_ELSEWHERE.match(article[1])):
        return None
    words = words_of(lower)
    if (
        verb == "am"
        and article
        and (has_any(words[:6], lexicon.OCCUPATIONS) or re.search(r"\bstay[- ]at[- ]home\b", lower))
        and not re.search(r"\b(?:fan|lover|daughter|son|love)\b", lower)
    ):
        return Statement("work", "title", shorten(re.sub(r"^(?:an?|the) ", "", rest)))
    return statement(*_kind_of_person(lower, words), adverb, verb, rest)


def _kind_of_person(lower: str, words: list[str]) -> tuple[str, str]:
    if has_any(words, lexicon.HEALTH) or "allerg" in lower:
        return "health", "conditions"
    if re.search(r"vegetarian|vegan|\bdiet\b|carnivore", lower):
        return "health", "diet"
    if re.match(r"(?:\w+ )?(?:afraid|terrified|scared|frightened)", lower):
        return "psychological", "fears"
    if lower.startswith(("getting married", "getting divorced", "getting remarried", "marrying")):
        return "life_event", "marriage"
    if re.match(r"fluent in|bilingual", lower):
        return "basic_info", "language_spoken"
    if re.match(r"an? (?:\w+ ){0,2}(?:mom|mum|dad|mother|father|parent) of\b", lower):
        return "family", "children"
    if re.search(r"student|school|college|university|studying|degree|graduate|grade\b|major", lower):
        return "education", "school"
    if re.search(r"army|military|navy|marines|employed|retired|working|self-employed|career|training to", lower):
        return "work", "job"
    if re.search(
        r"\bgay\b|lesbian|bisexual|transgender|\bmale\b|\bfemale\b|\bboy\b|\bgirl\b|\bwoman\b"
        r"|\bman\b",
        lower,
    ):
        return "basic_info", "identity"
    if (
        has_any(words, lexicon.FAMILY)
        or "only child" in lower
        or re.search(r"oldest|youngest|pregnant|expecting", lower)
    ):
        return "family", "relatives"
    if re.search(
        r"christian|catholic|muslim|jewish|hindu|buddhist|atheist|religious|republican|democrat|liberal"
        r"|conservative",
        lower,
    ):
        return "psychological", "beliefs"
    if re.match(r"(?:planning|going|saving|hoping)", lower):
        return "psychological", "goals"
    if has_any(words, lexicon.BODY) or re.search(r"\btall\b|\bshort\b|skinny|overweight|blonde|pounds|handed", lower):
        return "basic_info", "appearance"
    sub_topic = interest_of(lower)
    return ("interest", sub_topic) if sub_topic else ("psychological", "personality")


def having(adverb: str, verb: str, rest: str) -> Statement | None:
    if verb == "have":
        rest = rest.removeprefix("got ")
    lower = rest.lower()
    if "favorite" in lower or re.match(
        r"never (?!had an?\b|owned|been (?:married|out of|in an?|on an?)\b|learned|lived)", lower
    ):
        return None
    if lower.startswith("been "):
        return _has_been(lower[5:], rest)
    if A_FEW.fullmatch(lower):
        return None
    if verb in ("have", "had", "has", "got", "keep") and (
        SMALL_TALK_NOUNS.match(lower) or POINTS_ELSEWHERE.match(lower)
    ):
        return None
    if verb == "have" and (loved := re.match(r"always (liked|loved|enjoyed|hated) (?P<liked>.+)", rest)):
        return None if loved[1] == "hated" else liking(adverb, verb, rest, loved["liked"])
    if verb == "have" and re.match(
        r"(?:just |always |recently |never |also )*(\w+ed|taken|won|grown|written|broken|lost|made)\b", lower
    ):
        return (
            None
            if re.search(r"\b(?:it|that|this|them|you|your|learned a lot|wondered|noticed|realized)\b", lower)
            else statement("life_event", "experiences", adverb, verb, rest)
        )
    if re.search(r"\b(?:it|them)\b", lower):
        return None
    words = words_of(lower)
    return statement(*possession(lower, words, verb), adverb, verb, rest, happened=verb in ("adopted", "bought"))


def _has_been(lower: str, rest: str) -> Statement | None:
    if not re.match(
        r"(?:an? |in |married|working|playing|doing|with|at |teaching|living|studying|learning|trying to"
        r"|to (?!it|that|there|one|any))",
        lower,
    ):
        return None
    if re.search(r"\b(?:it|them|you)\b", lower) or A_FEW.fullmatch(lower.removeprefix("to ")) or lower == "working":
        return None
    if lower.startswith("to "):
        return statement("interest", "travel", "", "have", rest)
    if lower.startswith(("a ", "an ", "working", "at ", "teaching")):
        return statement("work", "experience", "", "have", rest)
    return statement("interest", interest_of(lower) or "hobbies", "", "have", rest)


def possession(lower: str, words: list[str], verb: str) -> tuple[str, str]:
    if has_any(
        words,
        frozenset(
            [
                "kid",
                "child",
                "children",
                "son",
                "daughter",
                "baby",
                "toddler",
                "stepson",
                "grandchildren",
                "grandson",
            ]
        ),
    ):
        return "family", "children"
    if has_any(words, lexicon.PARTNERS):
        return "family", "partner"
    if has_any(words, lexicon.PETS):
        return "lifestyle", "pets"
    if has_any(words, lexicon.FAMILY):
        return "family", "relatives"
    if has_any(words, lexicon.BODY):
        return "basic_info", "appearance"
    if has_any(words, lexicon.HEALTH):
        return "health", "conditions"
    if re.search(r"degree|master's|bachelor|phd|major|school|college", lower):
        return "education", "degree"
    if has_any(words, lexicon.WORK) or has_any(words, lexicon.OCCUPATIONS):
        return "work", "job"
    if has_any(words, lexicon.FRIENDS):
        return "family", "friends"
    if verb in ("own", "bought") or re.search(r"house|apartment|farm|home|condo", lower):
        return "lifestyle", "possessions"
    sub_topic = interest_of(lower)
    return ("interest", sub_topic) if sub_topic else ("lifestyle", "circumstances")
