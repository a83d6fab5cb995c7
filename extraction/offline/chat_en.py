"""English phrases that say nothing lasting: what points elsewhere in the conversation, and small talk."""

import re
from typing import Final

_NOT_OF_RELATIVES: Final = r"(?! (?:\w+ )?(?:sister|brother|sibling|son|daughter|kid|child|dog|cat)\b)"
# What these speak of lies in another sentence, or in this chat only.
POINTS_ELSEWHERE: Final = re.compile(
    r"(?:(?:all|both|some|most|any) of )?(?:it|that|this|them|those|these|him|her|you|your|yours"
    rf"|everything|one{_NOT_OF_RELATIVES}|some|mine"
    r"|what|how|when|if|the idea|the sound|the way|hearing|to hear|to see you|to meet|meeting|talking to"
    r"|chatting|to know|to try"
    r"|to check|to get to know|seeing you|so|too|very much|a lot|both|as well|either|any|much|to talk"
    r"|trying new things"
    r"|people like you|being able to|the same|there|going there|to think|to learn more about (?:it|that"
    r"|them)"
    r"|learning about (?:it|them|that)|his|their|our|to go there|to do that|sorry|bad|more|the name|myself"
    r"|about)\b|$",
    re.IGNORECASE,
)
SMALL_TALK: Final = re.compile(
    r"(?:not\s+)?(?:(?:so|very|really|pretty|doing|just|always|also|quite|feeling|super|too|still|a bit"
    r"|a little)\s+)*"
    r"(?:good|well|fine|great|ok|okay|sorry|glad|sure|happy|excited|here|back|free|ready|looking|thinking"
    r"|asking|kidding"
    r"|talking|chatting|hanging|chilling|relaxing|doing|curious|wondering|jealous|impressed|surprised"
    r"|interested to|certain"
    r"|afraid (?:not|so|that|I)|with you|the same|same|too|not|scared$|stressed|taking (?:it|things)"
    r"|going(?! to (?:graduate|retire|marry|get married|study|become|college|be an?)\b)"
    r"|gonna|done|bored|tired|hungry|busy"
    r"|fan|able|trying"
    r"|in(?! (?:the |an? )?(?:army|navy|military|marines|air force|\w* ?school|college|university|grad|law|med"
    r"|band|choir|prison|jail|wheelchair|\w+ grade)\b)"
    r"|open to|up for|up to|down|willing|about to|alright|all right|new here|right|game|grateful|thankful"
    r"|honored|lucky|just|hoping"
    r"|having|getting(?! (?:re)?married| divorced)|proud of (?:you|her|him|them|that)"
    r"|your|you|it|that|an ai|guessing|so|there|enjoying|on my way"
    r"|like"
    r"|amazed|familiar|aware"
    r"|confident|convinced|sad|cool|more|as|all|much|at|only|also|really|so|coming|honestly"
    r"|planning on (?:it|that)|fascinated"
    r"|sticking|starting|inspired|better|worried|intrigued|keeping|pleased|learning (?:a lot|so much)"
    r"|dying|leaning)\b",
    re.IGNORECASE,
)
SMALL_TALK_NOUNS: Final = re.compile(
    r"(?:(?:a|an|the|some|any|no|such|lots of|many|so many|so much|a lot of|my|to|one|two|good|great"
    r"|never|always|just|not)\s+)*"
    r"(?:fun|question|idea|day|time|times|lot|things?|in common|feeling|point|chance|doubt|memories|plans"
    r"|to|been|heard|seen|read|tried"
    rf"|had|been to|done|it|that|them|this|you|one{_NOT_OF_RELATIVES}|some|thought|met|played|watched|gone|eaten|got"
    r"|noticed"
    r"|great|good|enjoyed|to"
    r"|conversation|chat|weekend|problem|clue|luck|trouble|pleasure|nice|wanted|recommendations?"
    r"|suggestions?|what|of)\b|$",
    re.IGNORECASE,
)
# Objects that point at what the conversation was just about ("I love the characters", "I do those things").
THIS_CHAT: Final = re.compile(
    r"the (?!(?:beach|outdoors?|mountains?|ocean|sea|woods|forest|lake|park|gym|water|snow|rain|sun|cold"
    r"|heat|city|country"
    r"|countryside|desert|holidays?|summer|winter|spring|fall|autumn|olympics|color|library|theater"
    r"|movies|arts?|piano|guitar"
    r"|violin|drums|colou?rs?|environment|night|internet|military|army)\b|[A-Z\"'])"
    r"|(?:getting|seeing|hearing|being able|trying|having|knowing|finding|how|all kinds|all sorts"
    r"|all types|all (?:the|his|her|their)|a good"
    r"|a lot of different|to try|to see|to think|everything|anything|sharing|most|lots|many|different"
    r"|new)\b"
    r"|.*\b(?:those|these|them|it|theirs|yours|you|your|him|her|both of|together|sometime|that)$"
    r"|.*\b(?:those things|you|your|theirs|do that)\b"
)
VAGUE_STATE: Final = re.compile(
    r"\b(?:you|your|it|that|them|those|theirs|there)$|^now$|\b(?:you|your)\b"
    r"|^(?:definitely|always (?:here|on)|the opposite"
    r"|one|old|serious|starving|kind of|nervous|new (?:to|at|in)|learning(?:$| on| a lot)|(?:still )?an? beginner"
    r"|interested in a lot|a kid|a child|a teenager|a baby|little|younger?|always learning|learning new)\b"
)
# A second thought about something else: the statement ends before it.
ASIDE: Final = re.compile(
    r"(?:,| (?=so|but|and|because|since|as)) ?(?:so|but|and|because|since|as)?"
    r" (?:it|that|this|they|he|she|there|these|those)(?:'s|'re| )\b.*$"
)
# What is had or was visited, without a word on what it is.
A_FEW: Final = re.compile(
    r"(?:(?:only|just|quite|already) )*(?:a few|a couple|a lot|lots|many|some|several|enough|plenty|as much|a bunch)"
    r"(?: of)?(?: (?:of|the|my|your|different|great|other|new|nice|cool|more|beautiful|interesting))*"
    r"(?: (?:places|countries|cities|ones|races|times|things|stuff|time|own|it|hours).*)?"
)
NOTHING_TELLING: Final = re.compile(
    r"(?:to )?(?:do|have|play|go|be|love|like)(?: (?:it|one|them|that|some|a lot|all the time|there|so))+"
    r"(?:$| (?:when|in|as|too|at|back)\b.*)"
)
VAGUE_HEADS: Final = re.compile(
    r"(?:big |huge |good |great |bit |little |real |true )*(?:fan of (?:it|that|them|him|her|those|this"
    r"|yours?)|bit|little(?! girl| boy)|lot|"
    r"fan$|person$|human$|good friend|friend of|loss|moment|way|question)\b",
    re.IGNORECASE,
)
