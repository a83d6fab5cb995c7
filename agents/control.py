"""Control calls: content that every endpoint takes, sent in doubt to tell its faults from those of a conversation."""

from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID

from extraction.protocol import Extractor
from schemas.conversation import Message
from schemas.memory import Extraction, Fact, Gist, Profile, Slot, Usage
from schemas.profile_schema import ProfilePolicy
from schemas.windows import MessageId

Step = Literal["extract", "merge", "embed"]

_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MESSAGE_ID: Final = MessageId("control/0")
_CONVERSATION: Final = (Message(_MESSAGE_ID, "user", "I live in Oslo and I like figs.", _AT),)
_GIST: Final = Gist("tried figs and liked them", (_MESSAGE_ID,), _AT)
_SLOT: Final = ("interest", "foods")


async def call_for_control(extractor: Extractor, step: Step, policy: ProfilePolicy) -> Usage:
    """What it cost; raises as the step does. `policy` is that of the call in doubt: its words may be at fault, too."""
    if step == "extract":
        return (await extractor.extract(_CONVERSATION, Profile(), policy)).usage
    if step == "embed":
        return (await extractor.merge(Extraction(gists=(_GIST,)), Profile(), policy)).usage
    # Facts outside a strict policy would be dropped without a call.
    slots = [(topic.topic, item.name) for topic in policy.slots for item in topic.sub_topics]
    name = slots[0] if policy.strict and slots and _SLOT not in slots else _SLOT
    extraction = Extraction(facts=(Fact(*name, "likes figs", (_MESSAGE_ID,), _AT),))
    profile = Profile(1, (Slot(UUID(int=0), *name, "likes tea", _AT),))
    return (await extractor.merge(extraction, profile, policy)).usage
