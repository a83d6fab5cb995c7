"""What the reading routes take as parameters, and what they answer."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.inputs import Flag, QueryTime

# More than any memory holds; a share of a number that no float holds could not be computed.
MAX_TOKENS: Final = (1 << 31) - 1

Topics = Annotated[list[str], Field(max_length=1000)]


class TopicQuery(BaseModel):
    """Which topics of a profile, and when."""

    model_config = ConfigDict(extra="ignore")

    prefer_topics: Topics = Field([], description="Topics that come first, in this order; may be repeated.")
    only_topics: Topics = Field([], description="Entries of these topics only; may be repeated.")
    max_subtopic_size: int | None = Field(None, description="Entries of one topic at most; 0 is no limit.")
    topic_limits_json: str | None = Field(
        None,
        description="Entries of single topics at most, as JSON; stronger than max_subtopic_size, and 0 leaves a topic "
        "out.",
        examples=['{"interest": 3}'],
    )
    as_of: QueryTime | None = Field(
        None, description="Memory as it was at this time.", examples=["2026-11-20T10:00:00Z"]
    )
    as_of_clock: Literal["recorded", "occurred"] = Field(
        "recorded",
        description="Of as_of: `recorded` is what memory held then, `occurred` what had been said by then, also where "
        "it was sent later, as in a backfill.",
    )


class ProfileQuery(TopicQuery):
    """Which entries of a profile, the latest first."""

    topk: int | None = Field(None, ge=0, description="Entries at most; 0 is no limit.")
    max_token_size: int | None = Field(None, description="Tokens of all entries together at most; 0 is no limit.")


class ChosenProfileQuery(ProfileQuery):
    """`ProfileQuery`, and a conversation by which a model chooses."""

    chats_str: str | None = Field(
        None,
        description="The last messages of a conversation, as JSON: a model picks the entries that help to answer them. "
        "Where that fails, all are answered.",
        examples=['[{"role": "user", "content": "What shall I read?"}]'],
    )


class ContextQuery(TopicQuery):
    """What goes into a context."""

    max_token_size: int = Field(
        1000,
        ge=-MAX_TOKENS,
        le=MAX_TOKENS,
        description="Tokens of profile and events together at most; the words around them are not counted.",
    )
    profile_event_ratio: float = Field(0.6, description="The profile's share, above 0 and up to 1.")
    fill_window_with_events: Flag = Field(False, description="Whether events may take what the profile leaves.")
    time_range_in_days: int = Field(180, description="Events that were recorded in the last so many days.")
    chats_str: str | None = Field(
        None,
        description="The last messages of a conversation, as JSON: events that are like the last three of them, the "
        "most similar first; without it, the latest events.",
        examples=['[{"role": "user", "content": "What shall I read?"}]'],
    )
    event_similarity_threshold: float = Field(
        0.2, allow_inf_nan=False, description="How similar an event must be at least, up to 1."
    )
    full_profile_and_only_search_event: Flag = Field(
        True, description="If false, and with chats_str, a model picks the entries of the profile, too."
    )
    customize_context_prompt: str | None = Field(
        None,
        description="A text in place of ours, with `{profile_section}` and `{event_section}` in it; other braces are "
        "doubled.",
        examples=["You know this:\n{profile_section}\nIt happened:\n{event_section}"],
    )
    require_event_summary: Flag = Field(False, description="No effect, as in Memobase.")
    format: Literal["json", "text"] | None = Field(
        None,
        description="`json` adds what stands in the sections as data, `text` answers the context alone, as plain text.",
    )
    token_report: Flag = Field(False, description="Add how the budget was spent.")


class ProfileAttributes(BaseModel):
    topic: str
    sub_topic: str
    update_hits: int = Field(0, description="How often the entry has changed.")


class ProfileItem(BaseModel):
    id: UUID
    content: str
    attributes: ProfileAttributes
    created_at: datetime
    updated_at: datetime


class ProfileAnswer(BaseModel):
    """Entries of a profile; none for a user of whom nothing is known."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "profiles": [
                    {
                        "id": "0a4f3a7e-30a5-4d52-8d9f-3c1f2c7f2d11",
                        "content": "Oslo",
                        "attributes": {"topic": "contact_info", "sub_topic": "city", "update_hits": 1},
                        "created_at": "2026-11-20T10:00:00+00:00",
                        "updated_at": "2026-11-21T09:30:00+00:00",
                    }
                ]
            }
        }
    )

    profiles: list[ProfileItem]


class ContextEvent(BaseModel):
    id: UUID
    event_id: UUID
    content: str = Field(description="As it stands in the context, without the mark of the list.")
    occurred_at: datetime
    created_at: datetime


class TokenReport(BaseModel):
    """How the budget was spent. `counted_by` is the tokenizer, or `estimate`, which is on the high side."""

    max_tokens: int
    profile_tokens: int
    event_tokens: int
    profiles_packed: int
    profiles_left_out: int
    events_packed: int
    events_left_out: int
    events_by: Literal["time", "similarity"]
    counted_by: str


CONTEXT_EXAMPLE: Final = (
    "---\n# Memory\nUnless the user has relevant queries, do not actively mention those "
    "memories in the conversation.\n## User Current Profile:\n- basic_info::name: Gus\n\n## Past Events:\n"
    "- User bought a car. [mention 2024/04/30] // event\n---\n"
)


class ContextAnswer(BaseModel):
    """A text for a prompt. `profiles` and `events` only with `format=json`, `tokens` only with `token_report`."""

    model_config = ConfigDict(json_schema_extra={"example": {"context": CONTEXT_EXAMPLE}})

    context: str
    profiles: list[ProfileItem] | None = None
    events: list[ContextEvent] | None = None
    tokens: TokenReport | None = None


class ChatLine(BaseModel):
    """A message of a conversation; what else is in it is ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    role: str = Field(min_length=1, max_length=100)
    content: str


class ProactiveBody(BaseModel):
    """A conversation of a character with the user."""

    messages: list[ChatLine] = Field(description="The conversation so far.")
    agent_context: str | None = Field(None, description="Who the character is.")


class ProactiveAnswer(BaseModel):
    """`topic_prompt` is an instruction to the character, null where it should go on."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "action": "new_topic",
                "topic_prompt": "Bring something new into the conversation, gently and in your own words.\nTheme: ...",
            }
        }
    )

    action: Literal["new_topic", "continue"]
    topic_prompt: str | None = None


def profile_item(entry: Any) -> dict[str, Any]:
    """An entry of `storage.recall` as `ProfileItem` has it; written by hand, for it is made by the hundred."""
    return {
        "id": str(entry.profile_id),
        "content": entry.content,
        "attributes": {"topic": entry.topic, "sub_topic": entry.sub_topic, "update_hits": entry.update_hits},
        "created_at": entry.created_at,
        "updated_at": entry.updated_at,
    }
