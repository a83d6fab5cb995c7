"""English first-person statements: which clauses speak of the user, and which slot they belong to."""

import re
from collections.abc import Iterator
from typing import Final

from extraction.offline import lexicon_en as lexicon
from extraction.offline.clauses_en import ADVERBS, KEPT_ADVERBS, clauses_of, third_person
from extraction.offline.lexicon_en import has_any, interest_of, words_of
from extraction.offline.statements import Statement, shorten

_STATEMENT: Final = re.compile(
    rf"^(?:I|we|my (?P<with>\w+) and I)\s+(?:{ADVERBS}\s+)*(?P<adverb>(?:{KEPT_ADVERBS}\s+)?)(?:{ADVERBS}\s+)*"
    r"(?P<verb>[a-z']+)(?:\s+(?P<rest>.+))?$",
    re.I,
)
# What these speak of lies in another sentence, or in this chat only.
_POINTS_ELSEWHERE: Final = re.compile(
    r"(?:(?:all|both|some|most|any) of )?(?:it|that|this|them|those|these|him|her|you|your|yours|everything|one|some|mine"
    r"|what|how|when|if|the idea|the sound|the way|hearing|to hear|to see you|to meet|meeting|talking to|chatting|to know|to try"
    r"|to check|to get to know|seeing you|so|too|very much|a lot|both|as well|either|any|much|to talk|trying new things"
    r"|people like you|being able to|the same|there|going there|to think|to learn more about (?:it|that|them)"
    r"|learning about (?:it|them|that)|his|their|our|to go there|to do that|sorry|bad|more|the name)\b|$",
    re.I,
)
_SMALL_TALK: Final = re.compile(
    r"(?:not\s+)?(?:(?:so|very|really|pretty|doing|just|always|also|quite|feeling|super|too|still|a bit|a little)\s+)*"
    r"(?:good|well|fine|great|ok|okay|sorry|glad|sure|happy|excited|here|back|free|ready|looking|thinking|asking|kidding"
    r"|talking|chatting|hanging|chilling|relaxing|doing|curious|wondering|jealous|impressed|surprised|interested to|certain"
    r"|afraid (?:not|so|that|I)|with you|the same|same|too|not|going|gonna|done|bored|tired|hungry|busy|fan|in|able|trying"
    r"|open to|up for|up to|down|willing|about to|alright|all right|new here|right|game|grateful|thankful|honored|lucky|just|hoping"
    r"|having|getting|proud of you|your|you|it|that|an ai|guessing|so|there|enjoying|on my way|like|amazed|familiar|aware"
    r"|confident|convinced|sad|cool|more|as|all|much|at|only|also|really|so|coming|honestly|planning on (?:it|that)|fascinated"
    r"|sticking|starting|inspired|better|worried|intrigued|keeping|pleased|learning (?:a lot|so much)|dying|leaning)\b",
    re.I,
)
_SMALL_TALK_NOUNS: Final = re.compile(
    r"(?:(?:a|an|the|some|any|no|such|lots of|many|so many|so much|a lot of|my|to|one|two|good|great|never|always|just|not)\s+)*"
    r"(?:fun|question|idea|day|time|times|lot|things?|in common|feeling|point|chance|doubt|memories|plans|to|been|heard|seen|read|tried"
    r"|had|been to|done|it|that|them|this|you|one|some|thought|met|played|watched|gone|eaten|got|noticed|great|good|enjoyed|to"
    r"|conversation|chat|weekend|problem|clue|luck|trouble|pleasure|nice|wanted|recommendations?|suggestions?|what|of)\b|$",
    re.I,
)
_VAGUE_HEADS: Final = re.compile(
    r"(?:big |huge |good |great |bit |little |real |true )*(?:fan of (?:it|that|them|him|her|those|this|yours?)|bit|little|lot|"
    r"fan$|person$|human$|good friend|friend of|loss|moment|way|question)\b",
    re.I,
)

# What people do, each verb with the slot for statements that no other word assigns.
_HABITS: Final[dict[str, tuple[str, str]]] = {
    verb: slot
    for slot, verbs in {
        (
            "interest",
            "hobbies",
        ): "play watch listen sing dance draw paint write read knit sew collect surf ski skate fish"
        " hunt garden bike cycle ride race camp sail climb bake cook grill hike swim run jog workout work-out exercise lift"
        " walk bowl golf craft make build travel fly photograph perform train practice compete shop party game crochet"
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
        ): "teach manage sell design repair fix deliver assist coach supervise produce help"
        " taught managed run",
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
    "do make use take get find think feel go help need support remember miss see spend went run look stay visit build".split()
)
_LIKE: Final = frozenset("like love enjoy adore prefer loved liked enjoyed".split())
_DISLIKE: Final = frozenset("hate dislike despise loathe detest fear hated".split())
_HAVE: Final = frozenset("have own got has had keep raise raised adopted bought".split())
_BE: Final = frozenset("am are was were".split())
_PLAN: Final = frozenset("want plan hope dream wish intend aspire wanted need".split())
_AGE: Final = re.compile(
    r"(?:(?:about|almost|only|just|turning) )?(\d{1,2})(?: years? old| years? of age|$|,)"
)
_AGE_RANGE: Final = re.compile(r"in (?:my|our) ((?:early |mid |late )?(?:\w+ties|teens))\b")
_MARITAL: Final = re.compile(
    r"(?:(?:happily|recently|newly|currently|still|not|never|a) )*"
    r"(?:married|single|divorced|divorcee|engaged|widowed|separated|widow|widower|in an? (?:\w+ )*relationship)\b(?! (?:in|by|of|with it)\b)"
)
_NATIONALITY: Final = re.compile(
    r"(?:an? |originally )*([A-Z]\w+(?:an|ese|ish|ch|can)(?:[- ]American)?)(?: (?:citizen|immigrant|girl|boy|man|woman|guy))?$"
)
_NAME: Final = re.compile(r"([A-Z][a-z]+(?: [A-Z][a-z]+)?)(?:$|,| (?:and|from|but)\b)")
_PLACE_END: Final = re.compile(
    r",? (?:and|with|but|because|since|so|which|where|now|right now|for|that|near|too)\b.*$|,.*$"
)


def statements(text: str) -> Iterator[Statement]:
    """The statements about the speaker in one message, in order."""
    for clause in clauses_of(text):
        found = _read(clause)
        if found is not None and len(found.memo) > 1:
            yield found


def _read(clause: str) -> Statement | None:
    if clause[:3].lower() == "my ":
        return _about_mine(clause[3:].strip())
    match = _STATEMENT.match(clause)
    if match is None:
        return None
    verb = match["verb"].lower()
    rest = re.sub(r"[,]? (?:too|as well|though|actually|either)$", "", (match["rest"] or "").strip())
    adverb = match["adverb"].lower()
    if verb in ("used", "like") and rest.startswith("to ") and verb == "used":
        return _activity(adverb, verb, rest, ("life_event", "past"))
    if verb in _BE:
        return _being(adverb, verb, rest)
    if verb in _HAVE:
        return _having(adverb, verb, rest)
    if verb in _LIKE:
        return _liking(adverb, verb, rest)
    if verb in _DISLIKE:
        return (
            None
            if _POINTS_ELSEWHERE.match(rest)
            else _statement("psychological", "dislikes", adverb, verb, rest)
        )
    if verb in ("don't", "can't", "didn't", "never", "couldn't"):
        return _not_doing(adverb, verb, rest)
    if verb in ("can", "could"):
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


def _statement(
    topic: str, sub_topic: str, adverb: str, verb: str, rest: str, happened: bool = False
) -> Statement:
    memo = shorten(f"{adverb}{third_person(verb)} {rest}")
    return Statement(topic, sub_topic, memo, memo if happened else None)


def _about_mine(rest: str) -> Statement | None:
    words = words_of(rest)
    if re.match(r"name is (?!user|jane doe)", rest, re.I):
        name = re.match(r"([A-Z][\w'-]+(?: [A-Z][\w'-]+)?)", rest[8:])
        return Statement("basic_info", "name", name.group(1)) if name else None
    if not re.search(
        r" (?:is|are|was|were|has|have|had|do|does|did|work\w*|live\w*|drive\w*|drove|teach\w*|like\w*|love\w*|died|passed|play\w*|own\w*|"
        r"make\w*|includes?|come\w*|run\w*|ran|served|taught|raised|used|left|got|\w+ed)\b",
        " " + " ".join(words[1:]),
    ):
        return None
    favorite = re.match(
        r"(?:all[- ]time |absolute |other |least |two |second )*favou?rites? ?(.*?) (?:is|are|was|were|would|has)\b(.*)",
        rest,
        re.I,
    )
    if favorite:
        if _POINTS_ELSEWHERE.match(favorite[2].strip() or "it"):
            return None
        return Statement("interest", interest_of(rest) or "favorites", shorten(rest))
    head = words[:3]
    owner = re.match(r"(\w+(?:[- ]\w+)?'s) ", rest)
    if (
        owner
        and words[1:2] == ["name"]
        or re.search(r"^(?:name|life|day|pleasure|bad|point|guess|goodness|god)\b", rest, re.I)
    ):
        return None
    if has_any(head, lexicon.PARTNERS):
        return Statement("family", "partner", shorten(rest))
    if has_any(head, lexicon.FAMILY):
        parents = has_any(head, frozenset("mother mom mum father dad parent mama papa".split()))
        children = has_any(head, frozenset("son daughter kid child children baby toddler".split()))
        return Statement(
            "family", "parents" if parents else "children" if children else "relatives", shorten(rest)
        )
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


def _being(adverb: str, verb: str, rest: str) -> Statement | None:
    lower = rest.lower()
    if verb in ("am", "are") and _SMALL_TALK.match(lower):
        return None
    if age := _AGE.match(lower):
        return Statement("basic_info", "age", age[1])
    if span := _AGE_RANGE.match(lower):
        return Statement("basic_info", "age", "in the " + span[1])
    if verb == "am" and _MARITAL.match(lower):
        return Statement("demographics", "marital_status", shorten(rest))
    if place := re.match(r"(?:originally |actually )?from ((?!the (?:same|future)).+)", rest):
        return (
            None
            if _POINTS_ELSEWHERE.match(place[1])
            else Statement("basic_info", "hometown", shorten("from " + place[1]))
        )
    if re.match(r"born|raised", lower):
        return _statement("basic_info", "hometown", adverb, verb, rest)
    if verb == "am" and (person := _NATIONALITY.match(rest)):
        return Statement("basic_info", "nationality", person[1])
    if verb == "am" and not adverb and (name := _NAME.match(rest)):
        return Statement("basic_info", "name", name[1])
    article = re.match(r"(?:an?|the|also an?) (.+)", lower)
    if article and (_VAGUE_HEADS.match(article[1]) or _POINTS_ELSEWHERE.match(article[1])):
        return None
    words = words_of(lower)
    if (
        verb == "am"
        and article
        and has_any(words[:6], lexicon.OCCUPATIONS)
        and not re.search(r"\b(?:fan|lover|daughter|son|love)\b", lower)
    ):
        return Statement("work", "title", shorten(re.sub(r"^(?:an?|the) ", "", rest)))
    return _statement(*_kind_of_person(lower, words), adverb, verb, rest)


def _kind_of_person(lower: str, words: list[str]) -> tuple[str, str]:
    if has_any(words, lexicon.HEALTH) or "allerg" in lower:
        return "health", "conditions"
    if re.search(r"vegetarian|vegan|\bdiet\b|carnivore", lower):
        return "health", "diet"
    if re.match(r"(?:\w+ )?(?:afraid|terrified|scared|frightened)", lower):
        return "psychological", "fears"
    if re.search(r"student|school|college|university|studying|degree|graduate|grade\b|major", lower):
        return "education", "school"
    if re.search(
        r"army|military|navy|marines|employed|retired|working|self-employed|career|training to", lower
    ):
        return "work", "job"
    if re.search(
        r"\bgay\b|lesbian|bisexual|transgender|\bmale\b|\bfemale\b|\bboy\b|\bgirl\b|\bwoman\b|\bman\b", lower
    ):
        return "basic_info", "identity"
    if (
        has_any(words, lexicon.FAMILY)
        or "only child" in lower
        or re.search(r"oldest|youngest|pregnant|expecting", lower)
    ):
        return "family", "relatives"
    if re.search(
        r"christian|catholic|muslim|jewish|hindu|buddhist|atheist|religious|republican|democrat|liberal|conservative",
        lower,
    ):
        return "psychological", "beliefs"
    if re.match(r"(?:planning|going|saving|hoping)", lower):
        return "psychological", "goals"
    if has_any(words, lexicon.BODY) or re.search(
        r"\btall\b|\bshort\b|skinny|overweight|blonde|pounds|handed", lower
    ):
        return "basic_info", "appearance"
    sub_topic = interest_of(lower)
    return ("interest", sub_topic) if sub_topic else ("psychological", "personality")


def _having(adverb: str, verb: str, rest: str) -> Statement | None:
    lower = rest.lower()
    if lower.startswith("been "):
        return _has_been(lower[5:], rest)
    if verb in ("have", "had", "has", "got", "keep") and (
        _SMALL_TALK_NOUNS.match(lower) or _POINTS_ELSEWHERE.match(lower)
    ):
        return None
    if verb == "have" and (
        done := re.match(
            r"(?:just |always |recently |never |also )*(\w+ed|taken|won|grown|written|broken|lost|made)\b",
            lower,
        )
    ):
        return (
            None
            if re.search(r"\bit\b|\bthat\b|\bthis\b|\bthem\b", lower) or not done
            else _statement("life_event", "experiences", adverb, verb, rest)
        )
    words = words_of(lower)
    return _statement(
        *_possession(lower, words, verb), adverb, verb, rest, happened=verb in ("adopted", "bought")
    )


def _has_been(lower: str, rest: str) -> Statement | None:
    if not re.match(
        r"(?:an? |in |married|working|playing|doing|with|at |teaching|living|studying|learning|trying to|to (?!it|that|there|one|any))",
        lower,
    ):
        return None
    if lower.startswith("to "):
        return _statement("interest", "travel", "", "have", rest)
    if lower.startswith(("a ", "an ", "working", "at ", "teaching")):
        return _statement("work", "experience", "", "have", rest)
    return _statement("interest", interest_of(lower) or "hobbies", "", "have", rest)


def _possession(lower: str, words: list[str], verb: str) -> tuple[str, str]:
    if has_any(
        words,
        frozenset("kid child children son daughter baby toddler stepson grandchildren grandson".split()),
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


def _liking(adverb: str, verb: str, rest: str) -> Statement | None:
    if _POINTS_ELSEWHERE.match(rest):
        return None
    if re.search(r"\b(?:my (?:job|work)|working (?:with|as|for|in))\b", rest):
        return _statement("work", "attitude", adverb, verb, rest)
    words = words_of(rest)
    sub_topic = interest_of(rest)
    if sub_topic is None and has_any(words, lexicon.FAMILY | lexicon.PARTNERS | lexicon.FRIENDS):
        return _statement("family", "together", adverb, verb, rest)
    doing = rest.startswith("to ") or (words and words[0].endswith("ing"))
    return _statement("interest", sub_topic or ("hobbies" if doing else "likes"), adverb, verb, rest)


def _not_doing(adverb: str, verb: str, rest: str) -> Statement | None:
    match = re.match(
        rf"(?:{ADVERBS} )*(like|enjoy|care for|eat|drink|drive|cook|stand|work|own|have|swim|speak|trust|smoke|want|watch|"
        r"read|play|get along|believe|wear|finish|graduate|sleep|wait to)\b ?(.*)",
        rest,
    )
    if match is None or _POINTS_ELSEWHERE.match(match[2]) or _SMALL_TALK_NOUNS.match(match[2]):
        return None
    if match[1] in ("like", "enjoy", "care for", "stand"):
        return _statement("psychological", "dislikes", adverb, verb, rest)
    if match[1] == "wait to":
        return None
    if match[1] == "have":
        return _statement(*_possession(match[2].lower(), words_of(match[2]), "have"), adverb, verb, rest)
    return _statement("lifestyle", "habits", adverb, verb, rest)


def _able(adverb: str, verb: str, rest: str) -> Statement | None:
    if re.match(
        r"(?:see|imagine|understand|relate|tell|only|help you|definitely|try|do|be|get|hear|always|use|believe|recommend|"
        r"bring|give|show|send|teach you|appreciate|meet|also be|go|come|say|start|agree|feel|not|look|make it)\b",
        rest,
    ):
        return None
    if re.search(r"\b(?:you|it|that|them)\b", rest):
        return None
    return _statement("interest", interest_of(rest) or "skills", adverb, verb, rest)


def _planning(adverb: str, verb: str, rest: str) -> Statement | None:
    goal = re.match(r"(?:on )?(?:to|of|my|a|an) ?(.*)|being (.*)", rest)
    if goal is None or re.search(r"\b(?:you|it|that|them|there|one)\b", rest) or verb == "need":
        return None
    if re.match(
        r"(?:to )?(?:hear|know|see|try|check|meet|ask|say|help|do|get to know|go|find out|make sure)\b", rest
    ):
        return None
    return _statement("psychological", "goals", adverb, verb, rest)


def _dwelling(adverb: str, verb: str, rest: str) -> Statement | None:
    if not rest or re.match(r"(?:it|that|there|tuned|up|safe|away from)\b", rest):
        return None
    place = re.search(
        r"\b(?:in|to) ((?:the )?[A-Z][\w.'-]+(?:,? (?:[A-Z][\w.'-]+|de|la|of(?= [A-Z])))*)", rest
    )
    happened = verb in ("moved", "relocated")
    if happened:
        return _statement("life_event", "relocation", adverb, verb, rest, happened=True)
    if verb == "live" and place:
        return Statement("contact_info", "city", _PLACE_END.sub("", place[1]))
    return _statement("contact_info", "home", adverb, verb, rest)


def _working(adverb: str, verb: str, rest: str) -> Statement | None:
    if verb == "work":
        if title := re.match(r"as (?:an? )?(.+)", rest):
            return Statement("work", "title", shorten(title[1]))
        if company := re.match(r"(?:for|at) ((?:the )?[A-Z].*)", rest):
            return Statement("work", "company", shorten(company[1]))
        if re.match(r"(?:in) ", rest):
            return _statement("work", "working_industry", adverb, verb, rest)
    if not rest or re.match(r"(?:on it|out (?:well|great)|for me|like that)\b", rest):
        return None
    if verb == "retired":
        return _statement("life_event", "retirement", adverb, verb, rest, happened=True)
    return _statement("work", "experience" if verb == "worked" else "job", adverb, verb, rest)


def _activity(adverb: str, verb: str, rest: str, slot: tuple[str, str]) -> Statement | None:
    if _POINTS_ELSEWHERE.match(rest):
        return None
    sub_topic = interest_of(f"{rest} {verb}")
    if verb in _NEEDS_KNOWN_WORD and (sub_topic is None or re.search(r"\b(?:you|it|that|them)\b", rest)):
        return None
    if slot[0] == "interest" and sub_topic is not None:
        slot = ("interest", sub_topic)
    return _statement(*slot, adverb, verb, rest, happened=slot[0] == "life_event" and verb != "used")


def _happening(adverb: str, verb: str, rest: str) -> Statement | None:
    if verb in ("married", "divorced") or (
        verb in ("got", "get") and re.match(r"(?:married|divorced|engaged)", rest)
    ):
        return _statement("life_event", "marriage", adverb, verb, rest, happened=True)
    if verb in (
        "started",
        "joined",
        "left",
        "became",
        "changed",
        "opened",
        "switched",
        "founded",
    ) and not _POINTS_ELSEWHERE.match(rest):
        return _statement("life_event", "changes", adverb, verb, rest, happened=True)
    return None
