"""English first-person statements: which clauses speak of the user, and which slot they belong to."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from extraction.offline.chat_en import A_FEW, ASIDE, NOTHING_TELLING, POINTS_ELSEWHERE, SMALL_TALK_NOUNS, THIS_CHAT
from extraction.offline.clauses_en import ADVERBS, KEPT_ADVERBS, clauses_of, statement
from extraction.offline.lexicon_en import interest_of, words_of
from extraction.offline.people_en import about_mine, being, favorite_thing, having, possession
from extraction.offline.statements import Statement, sentences, shorten
from extraction.offline.tastes_en import liking

_STATEMENT: Final = re.compile(
    rf"^(?:I|we"
    rf"|my (?P<with>\w+) and I)\s+(?:{ADVERBS}\s+)*(?P<adverb>(?:{KEPT_ADVERBS}\s+)?)(?:{ADVERBS}\s+)*"
    r"(?P<verb>[a-z']+)(?:\s+(?P<rest>.+))?$",
    re.IGNORECASE,
)
# What people do, each verb with the slot for statements that no other word assigns.
_HABITS: Final[dict[str, tuple[str, str]]] = {
    verb: slot
    for slot, verbs in {
        (
            "interest",
            "hobbies",
        ): "play watch listen sing dance draw paint write read knit sew collect surf ski skate fish"
        " hunt garden bike cycle ride race camp sail climb bake cook grill hike swim run jog workout"
        " work-out exercise lift"
        " walk bowl golf craft make build travel fly photograph perform train practice compete shop party"
        " game crochet"
        " skateboard explore visit grow plant spend go attend take do use tend"
        " performed danced sang played traveled travelled went visited wrote write collect collected",
        ("interest", "foods"): "eat drink avoid ate",
        ("interest", "fashion"): "wear dress dye dyed wore",
        ("interest", "vehicles"): "drive commute drove",
        ("basic_info", "language_spoken"): "speak",
        ("education", "school"): "study studied major majored attended dropped",
        (
            "work",
            "work_skills",
        ): "teach manage sell design repair fix deliver assist coach supervise produce help taught managed",
        ("psychological", "values"): "volunteer donate support foster recycle volunteered",
        ("psychological", "beliefs"): "believe pray worship",
        ("health", "habits"): "smoke suffer suffered sleep weigh wake stay need quit stopped",
        ("life_event", "achievements"): "won served competed published earned graduated passed broke",
        ("life_event", "hardships"): "lost survived crashed escaped failed",
        ("basic_info", "hometown"): "grew",
        ("psychological", "personality"): "feel worry cry fear get miss find remember think",
        ("basic_info", "appearance"): "look identify stand",
        ("family", "relatives"): "share care babysit",
    }.items()
    for verb in verbs.split()
}
# These say something about the user only with an object that does.
_NEEDS_KNOWN_WORD: Final = frozenset(
    [
        "do",
        "make",
        "use",
        "take",
        "get",
        "find",
        "think",
        "feel",
        "go",
        "help",
        "need",
        "support",
        "remember",
        "miss",
        "see",
        "spend",
        "went",
        "run",
        "look",
        "stay",
        "visit",
        "build",
    ]
)
# "Horror movies are my favorite", "Gymnastics is my favorite sport".
_FAVORITE_IS: Final = re.compile(
    r"^(?P<thing>(?!my |that|this|it|they|those|these|one |what|which)[\w' -]{3,40}?) (?:is|(?P<plural>are))"
    r" (?:also |definitely |probably )?my (?:all[- ]time |absolute )?favou?rites?(?: (?P<kind>\w+))?(?: too)?$",
    re.IGNORECASE,
)
_OFTEN: Final = re.compile(
    r"\b(?:every (?:single )?(?:day|week|month|year|morning|evening|night|summer|winter|spring|fall|weekend|\w+day)"
    r"|(?:once|twice|\w+ times) a (?:day|week|month|year)|on (?:the )?weekends)\b"
)
_LIKE: Final = frozenset(["like", "love", "enjoy", "adore", "prefer", "loved", "liked", "enjoyed"])
_DISLIKE: Final = frozenset(["hate", "dislike", "despise", "loathe", "detest", "fear", "hated"])
_HAVE: Final = frozenset(["have", "own", "got", "has", "had", "keep", "raise", "raised", "adopted", "bought"])
_BE: Final = frozenset(["am", "are", "was", "were"])
_PLAN: Final = frozenset(["want", "plan", "hope", "dream", "wish", "intend", "aspire", "wanted", "need"])
_NEW_HOME: Final = re.compile(r"\bmoved (?:back )?to ([A-Z][\w.'-]+(?: [A-Z][\w.'-]+)*)")
_PLACE_END: Final = re.compile(
    r",? (?:and|as|with|but|because|since|so|which|where|now|right now|for|that|near|too)\b.*$|,.*$"
)


def statements(text: str) -> Iterator[Statement]:
    """The statements about the speaker in one message, in order."""
    for sentence in sentences(text):
        for clause in clauses_of(sentence):
            found = _read(clause)
            if found is not None and len(found.memo) > 1:
                yield replace(found, sentence=sentence)
                if found.sub_topic == "relocation" and (place := _NEW_HOME.search(found.memo)):
                    yield Statement("contact_info", "city", place[1], sentence=sentence)


def _read(clause: str) -> Statement | None:
    if favorite := _FAVORITE_IS.match(clause):
        return favorite_thing(favorite["thing"], favorite["plural"], favorite["kind"])
    if clause[:3].lower() == "my ":
        return about_mine(ASIDE.sub("", clause[3:].strip()))
    match = _STATEMENT.match(clause)
    if match is None:
        return None
    verb = match["verb"].lower()
    rest = re.sub(
        r"(?:,? (?:too|as well|though|actually|either|myself|(?:right |for )?now))+$", "", (match["rest"] or "").strip()
    )
    rest = ASIDE.sub("", rest)
    adverb = match["adverb"].lower()
    if verb in ("used", "like") and rest.startswith("to ") and verb == "used":
        return _activity(adverb, verb, rest, ("life_event", "past"))
    if verb in _BE:
        if not rest or verb in ("are", "were"):
            return None
        return being(adverb, verb, rest)
    if verb in _HAVE:
        return having(adverb, verb, rest)
    if verb in _LIKE:
        return liking(adverb, verb, rest)
    if verb in _DISLIKE:
        return None if POINTS_ELSEWHERE.match(rest) else statement("psychological", "dislikes", adverb, verb, rest)
    if verb in ("don't", "can't", "didn't", "never", "couldn't"):
        return _not_doing(adverb, verb, rest)
    if verb == "can":
        return _able(adverb, verb, rest)
    if verb in _PLAN:
        return _planning(adverb, verb, rest)
    if verb in ("live", "lived", "moved", "reside", "relocated", "stay"):
        return _dwelling(adverb, verb, rest)
    if verb in ("work", "worked", "retired", "freelance"):
        return _working(adverb, verb, rest)
    if verb in _HABITS:
        return _activity(adverb, verb, rest, _HABITS[verb])
    if verb == "turned" and (age := re.match(r"(\d{1,3})\b", rest)):
        return Statement("basic_info", "age", f"{age[1]} years old")
    return _happening(adverb, verb, rest) or _habit(adverb, verb, rest)


def _not_doing(adverb: str, verb: str, rest: str) -> Statement | None:
    match = re.match(
        rf"(?:{ADVERBS} )*(like|enjoy|care for|eat|drink|drive|cook|stand|work|own|have|swim|speak|trust"
        rf"|smoke|want|watch|"
        r"read|play|get along|believe|wear|finish|graduate|sleep|wait to)\b ?(.*)",
        rest,
    )
    if match is None or "favorite" in rest or POINTS_ELSEWHERE.match(match[2]) or SMALL_TALK_NOUNS.match(match[2]):
        return None
    if match[1] in ("like", "enjoy", "care for", "stand"):
        return statement("psychological", "dislikes", adverb, verb, rest)
    if match[1] == "wait to":
        return None
    if match[1] == "believe" or re.search(r"\b(?:it|them)\b", match[2]):
        return None
    if match[1] == "have":
        if A_FEW.fullmatch(match[2]):
            return None
        return statement(*possession(match[2].lower(), words_of(match[2]), "have"), adverb, verb, rest)
    slot = ("health", "diet") if match[1] in ("eat", "drink") else ("lifestyle", "habits")
    return statement(*slot, adverb, verb, rest)


def _able(adverb: str, verb: str, rest: str) -> Statement | None:
    if re.match(
        r"(?:see|imagine|understand|relate|tell|only|help you|definitely|try|do|be|get|hear|always|use"
        r"|believe|recommend|figure|stay|keep|find|finally|"
        r"bring|give|show|send|teach you|appreciate|meet|also be|go|come|say|start|agree|feel|not|look"
        r"|make it)\b",
        rest,
    ):
        return None
    if re.search(r"\b(?:you|it|that|them|together|some|sometime|all day)\b", rest):
        return None
    # "can fly", without a plane.
    if " " not in rest and interest_of(rest) is None:
        return None
    return statement("interest", interest_of(rest) or "skills", adverb, verb, rest)


def _planning(adverb: str, verb: str, rest: str) -> Statement | None:
    goal = re.match(r"(?:on )?(?:to|of|my|a|an) ?(.*)|being (.*)", rest)
    if goal is None or verb == "need":
        return None
    if re.search(r"\b(?:you|it|that|them|there|one)\b", rest.replace("make it big", "")):
        return None
    if re.match(
        r"(?:to )?(?:hear|know|see|try|check|meet|ask|say|help|do|get to know|go|find out"
        r"|make sure)\b",
        rest,
    ):
        return None
    return statement("psychological", "goals", adverb, verb, rest)


def _dwelling(adverb: str, verb: str, rest: str) -> Statement | None:
    if not rest or re.match(r"(?:it|that|there|tuned|up|safe|away from)\b", rest):
        return None
    place = re.search(r"\b(?:in|to) ((?:the )?[A-Z][\w.'-]+(?:,? (?:[A-Z][\w.'-]+|de|la|of(?= [A-Z])))*)", rest)
    happened = verb in ("moved", "relocated")
    if happened:
        return statement("life_event", "relocation", adverb, verb, rest, happened=True)
    if verb == "live" and place:
        return Statement("contact_info", "city", _PLACE_END.sub("", place[1]))
    return statement("contact_info", "home", adverb, verb, rest)


def _working(adverb: str, verb: str, rest: str) -> Statement | None:
    if verb == "work":
        if title := re.match(r"as (?:an? )?(.+)", rest):
            return Statement("work", "title", shorten(title[1]))
        if company := re.match(r"(?:for|at) ((?:the )?[A-Z].*)", rest):
            return Statement("work", "company", shorten(_PLACE_END.sub("", company[1])))
        if re.match(r"(?:in) ", rest):
            return statement("work", "working_industry", adverb, verb, rest)
    if not rest or re.match(r"(?:on it|out (?:well|great)|for me|like that)\b", rest):
        return None
    if verb == "retired":
        return statement("life_event", "retirement", adverb, verb, rest, happened=True)
    return statement("work", "experience" if verb == "worked" else "job", adverb, verb, rest)


def _activity(adverb: str, verb: str, rest: str, slot: tuple[str, str]) -> Statement | None:
    if POINTS_ELSEWHERE.match(rest) or THIS_CHAT.match(rest) or NOTHING_TELLING.match(rest):
        return None
    sub_topic = interest_of(f"{rest} {verb}")
    if verb in _NEEDS_KNOWN_WORD and (sub_topic is None or re.search(r"\b(?:you|it|that|them)\b", rest)):
        return None
    if verb == "run" and re.match(r"(?:an?|my|our|the) ", rest):
        slot = ("work", "work_skills")
    if slot[0] == "interest" and sub_topic is not None:
        slot = ("interest", sub_topic)
    return statement(*slot, adverb, verb, rest, happened=slot[0] == "life_event" and verb != "used")


def _happening(adverb: str, verb: str, rest: str) -> Statement | None:
    if verb in ("married", "divorced") or (verb in ("got", "get") and re.match(r"(?:married|divorced|engaged)", rest)):
        return statement("life_event", "marriage", adverb, verb, rest, happened=True)
    if verb in (
        "started",
        "joined",
        "left",
        "became",
        "changed",
        "opened",
        "switched",
        "founded",
    ) and not (POINTS_ELSEWHERE.match(rest) or re.match(r"(?:a few|by|in|when|with|out|at|about|as|off|to)\b", rest)):
        return statement("life_event", "changes", adverb, verb, rest, happened=True)
    return None


def _habit(adverb: str, verb: str, rest: str) -> Statement | None:
    """Whatever is done every week says something, unless it points elsewhere."""
    if (
        not re.fullmatch(r"[a-z]+", verb)
        or verb.endswith(("ed", "ld"))
        or not _OFTEN.search(rest)
        or POINTS_ELSEWHERE.match(rest)
    ):
        return None
    return None if re.search(r"\b(?:you|it|them)\b", rest) else statement("lifestyle", "habits", adverb, verb, rest)
