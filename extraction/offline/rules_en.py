"""English first-person statements: which clauses speak of the user, and which slot they belong to."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from extraction.offline.chat_en import POINTS_ELSEWHERE, SMALL_TALK_NOUNS, THIS_CHAT
from extraction.offline.clauses_en import ADVERBS, KEPT_ADVERBS, clauses_of, statement
from extraction.offline.lexicon_en import interest_of, words_of
from extraction.offline.people_en import about_mine, being, having, possession
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
        ): "teach manage sell design repair fix deliver assist coach supervise produce help taught managed run",
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
_LIKE: Final = frozenset(["like", "love", "enjoy", "adore", "prefer", "loved", "liked", "enjoyed"])
_DISLIKE: Final = frozenset(["hate", "dislike", "despise", "loathe", "detest", "fear", "hated"])
_HAVE: Final = frozenset(["have", "own", "got", "has", "had", "keep", "raise", "raised", "adopted", "bought"])
_BE: Final = frozenset(["am", "are", "was", "were"])
_PLAN: Final = frozenset(["want", "plan", "hope", "dream", "wish", "intend", "aspire", "wanted", "need"])
_NEW_HOME: Final = re.compile(r"\bmoved (?:back )?to ([A-Z][\w.'-]+(?: [A-Z][\w.'-]+)*)")
_PLACE_END: Final = re.compile(
    r",? (?:and|with|but|because|since|so|which|where|now|right now|for|that|near|too)\b.*$|,.*$"
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
    if clause[:3].lower() == "my ":
        return about_mine(clause[3:].strip())
    match = _STATEMENT.match(clause)
    if match is None:
        return None
    verb = match["verb"].lower()
    rest = re.sub(r"(?:,? (?:too|as well|though|actually|either|myself))+$", "", (match["rest"] or "").strip())
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
    return _happening(adverb, verb, rest)


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
    if match[1] == "have":
        return statement(*possession(match[2].lower(), words_of(match[2]), "have"), adverb, verb, rest)
    return statement("lifestyle", "habits", adverb, verb, rest)


def _able(adverb: str, verb: str, rest: str) -> Statement | None:
    if re.match(
        r"(?:see|imagine|understand|relate|tell|only|help you|definitely|try|do|be|get|hear|always|use"
        r"|believe|recommend|"
        r"bring|give|show|send|teach you|appreciate|meet|also be|go|come|say|start|agree|feel|not|look"
        r"|make it)\b",
        rest,
    ):
        return None
    if re.search(r"\b(?:you|it|that|them|together|some|sometime)\b", rest):
        return None
    return statement("interest", interest_of(rest) or "skills", adverb, verb, rest)


def _planning(adverb: str, verb: str, rest: str) -> Statement | None:
    goal = re.match(r"(?:on )?(?:to|of|my|a|an) ?(.*)|being (.*)", rest)
    if goal is None or re.search(r"\b(?:you|it|that|them|there|one)\b", rest) or verb == "need":
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
            return Statement("work", "company", shorten(company[1]))
        if re.match(r"(?:in) ", rest):
            return statement("work", "working_industry", adverb, verb, rest)
    if not rest or re.match(r"(?:on it|out (?:well|great)|for me|like that)\b", rest):
        return None
    if verb == "retired":
        return statement("life_event", "retirement", adverb, verb, rest, happened=True)
    return statement("work", "experience" if verb == "worked" else "job", adverb, verb, rest)


def _activity(adverb: str, verb: str, rest: str, slot: tuple[str, str]) -> Statement | None:
    if POINTS_ELSEWHERE.match(rest) or THIS_CHAT.match(rest):
        return None
    sub_topic = interest_of(f"{rest} {verb}")
    if verb in _NEEDS_KNOWN_WORD and (sub_topic is None or re.search(r"\b(?:you|it|that|them)\b", rest)):
        return None
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
    ) and not POINTS_ELSEWHERE.match(rest):
        return statement("life_event", "changes", adverb, verb, rest, happened=True)
    return None
