"""How the records of a topic that others own become blobs: settings of `ingest.sources`, one expression a field."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from schemas.mapping_expressions import ExpressionError, compile_expression
from schemas.records import BlobType, Fields, ProjectId

# What an expression finds in its document. `item` is one of what `each` yields, `message` one of what `messages` does.
OF_THE_RECORD: Final = ("value", "key", "headers", "topic", "partition", "offset", "timestamp_ms")
OF_AN_ITEM: Final = ("item", *OF_THE_RECORD)
OF_A_MESSAGE: Final = ("message", *OF_AN_ITEM)

# Fields whose expressions are evaluated for each message.
OF_MESSAGES: Final = ("role", "content", "alias", "message_created_at")

KNOWN_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "where": OF_THE_RECORD,
    "each": OF_THE_RECORD,
    **dict.fromkeys(
        ("user_id", "project_id", "id", "session_id", "created_at", "fields", "blob_type", "messages", "blob_data"),
        OF_AN_ITEM,
    ),
    **dict.fromkeys(OF_MESSAGES, OF_A_MESSAGE),
}

TimeFormat = Literal["rfc3339", "epoch_s", "epoch_ms"]
MappedRole = Literal["user", "assistant", "drop"]


def role_word(value: object) -> object:
    """A word for a role as `roles` lists it: YAML and JSON may hold true, false or a number there."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        for key in values if isinstance(values, Mapping) else ():
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(cls.model_fields)}"
                raise ValueError(f"unknown key {key}; {hint}")
        return values


class SourceDefaults(_Strict):
    """Values for what an expression does not yield, or for what is not mapped."""

    project_id: ProjectId | None = Field(None, description="project of the users; `default` if null")
    session_id: str | None = Field(None, description="session that the records belong to")
    role: Literal["user", "assistant"] | None = Field(None, description="who says all messages")
    alias: str | None = Field(None, description="name of who says them")
    blob_type: BlobType = Field("chat", description="type of the blobs")
    fields: Fields | None = Field(None, description="an object of your own, kept with each blob")


class IngestSource(_Strict):
    """A topic and its mapping: JMESPath expressions, constants in `defaults`, words in `roles`.

    An expression is evaluated on `{key, value, headers, topic, partition, offset, timestamp_ms, item, message}`.
    """

    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", description="on the same Kafka cluster")
    where: str | None = Field(None, description="records for which it yields nothing are ignored and counted")
    each: str | None = Field(None, description="yields a list: one blob for each `item` of it")
    user_id: str = Field(description="whose memory it is")
    project_id: str | None = Field(None, description="the user's project; else defaults.project_id")
    id: str | None = Field(None, description="idempotency key; else it follows from the record's position")
    session_id: str | None = Field(None, description="the session; else defaults.session_id")
    created_at: str | None = Field(None, description="when it was said; else the record's timestamp")
    fields: str | None = Field(None, description="yields an object of your own")
    blob_type: str | None = Field(None, description="yields chat, doc, code, …; else defaults.blob_type")
    messages: str | None = Field(None, description="yields a list of messages; without it there is one, the item")
    role: str | None = Field(None, description="yields user or assistant, or a word of `roles`")
    content: str | None = Field(None, description="the text of a message, a doc or a summary")
    alias: str | None = Field(None, description="the speaker's name")
    message_created_at: str | None = Field(None, description="when a message was said, shown to the model")
    blob_data: str | None = Field(None, description="yields the whole blob_data, in place of messages and content")
    roles: dict[Annotated[str, BeforeValidator(role_word)], MappedRole] = Field(
        {}, description="your words for roles: user, assistant, or drop to leave the message out"
    )
    time_format: TimeFormat = Field("rfc3339", description="of created_at and message_created_at")
    defaults: SourceDefaults = Field(
        SourceDefaults(), description="constants for what an expression does not yield, or for what is not mapped"
    )

    @property
    def expressions(self) -> dict[str, str]:
        """The expressions that are set, by field."""
        found = {name: getattr(self, name) for name in KNOWN_NAMES}
        return {name: text for name, text in found.items() if text is not None}

    @model_validator(mode="after")
    def _check_expressions(self) -> "IngestSource":
        wrong = []
        for name, text in self.expressions.items():
            try:
                compile_expression(text, KNOWN_NAMES[name])
            except ExpressionError as error:
                wrong.append(f"{name}: the expression `{text}` {error}")
        if wrong:
            raise ValueError(f"source {self.topic}: " + "; ".join(wrong))
        return self

    @model_validator(mode="after")
    def _check_content(self) -> "IngestSource":
        replaced = [name for name in ("messages", *OF_MESSAGES) if getattr(self, name) is not None]
        if self.blob_data is not None and replaced:
            raise ValueError(f"source {self.topic}: blob_data stands in place of {', '.join(replaced)}; leave one out")
        if self.blob_data is None and self.content is None:
            raise ValueError(f"source {self.topic}: content is missing; say where the text is, as in value.text")
        is_chat = self.blob_type is None and self.defaults.blob_type == "chat" and self.blob_data is None
        if is_chat and self.role is None and self.defaults.role is None:
            raise ValueError(
                f"source {self.topic}: role is missing; map it, or set defaults.role where all messages are of one role"
            )
        return self


class IngestSettings(_Strict):
    """Topics that others own, and how their records are read."""

    sources: tuple[IngestSource, ...] = Field((), description="each a topic, with a JMESPath expression per field")

    @field_validator("sources")
    @classmethod
    def _check_topics(cls, sources: tuple[IngestSource, ...]) -> tuple[IngestSource, ...]:
        topics = [source.topic for source in sources]
        for topic in topics:
            if topics.count(topic) > 1:
                raise ValueError(
                    f"two sources read topic {topic}, and each record would count twice; make one of them, with `each`"
                )
        return sources
