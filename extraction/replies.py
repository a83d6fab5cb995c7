"""What models must answer: reply models, their JSON schemas, and finding the JSON in a reply."""

import json
import re
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from schemas.profile_schema import unify_name
from schemas.records import UtcDatetime

ReplyModel = TypeVar("ReplyModel", bound="Reply")

# So many opening braces of a reply are tried; a reply with more is not an answer.
MAX_BRACES: Final = 200

# Up to the last end of reasoning: chat templates that open it themselves leave the reply without a beginning.
_END_OF_REASONING: Final = re.compile(r"</(?:think|thinking|reasoning)>")

_SHORT_DATE: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class InvalidReply(ValueError):
    """A reply that does not fit; the text names fields and rules, and quotes nothing of the reply."""


def _text(value: str) -> str:
    # PostgreSQL takes no NUL, and other control characters are no text either.
    text = " ".join(_CONTROL.sub(" ", value).split())
    if not text:
        raise ValueError("must not be empty")
    return text


def _optional_text(value: str | None) -> str | None:
    return _text(value) if value is not None and value.strip() else None


def _moment(value: object) -> object:
    if not isinstance(value, str):
        return value
    # ISO 8601 lets a date end after the year or the month; pydantic would read a year as seconds since 1970.
    if match := _SHORT_DATE.fullmatch(value.strip()):
        return f"{match[1]}-{match[2] or '01'}-01"
    return value.strip() or None


def _indices(value: list[int], info: ValidationInfo) -> list[int]:
    count = (info.context or {}).get("count")
    if not value:
        raise ValueError("must name at least one message")
    if count is not None and not all(0 <= index < count for index in value):
        raise ValueError(f"must be numbers of messages, 0 to {count - 1}")
    return sorted(set(value))


Name = Annotated[str, AfterValidator(unify_name)]
Text = Annotated[str, AfterValidator(_text)]
OptionalText = Annotated[str | None, AfterValidator(_optional_text)]
Moment = Annotated[
    UtcDatetime | None,
    BeforeValidator(_moment),
    WithJsonSchema({"type": ["string", "null"]}),
]
Indices = Annotated[list[int], AfterValidator(_indices)]


class Reply(BaseModel):
    """`step` is what the call is counted as; questions of the gateway are all one."""

    step: ClassVar[str] = "read"
    model_config = ConfigDict(extra="ignore", frozen=True)


class FactReply(Reply):
    """No time: a fact counts from when it was said, or a story of the past would replace the present."""

    topic: Name
    sub_topic: Name
    memo: Text
    message_indices: Indices
    quote: OptionalText = None


class TagReply(Reply):
    tag: Name
    value: Text


class EventReply(Reply):
    gist: Text
    tags: list[TagReply] = Field(default_factory=list)
    message_indices: Indices
    quote: OptionalText = None
    occurred_at: Moment = None


class ExtractReply(Reply):
    """Validated with the context {"count": number of messages}."""

    step: ClassVar[str] = "extract"

    facts: list[FactReply]
    events: list[EventReply] = Field(default_factory=list)
    summary: OptionalText = None


class UntaggedEventReply(EventReply):
    """As asked for where a policy has no tags; a tag that comes all the same is no fault."""

    tags: SkipJsonSchema[list[TagReply]] = Field(default_factory=list)


class UntaggedExtractReply(ExtractReply):
    events: list[UntaggedEventReply] = Field(default_factory=list)  # type: ignore[assignment]


class DecisionReply(Reply):
    index: int
    action: Literal["append", "update", "confirm", "abort"]
    memo: OptionalText = None

    @model_validator(mode="after")
    def _check_memo(self) -> "DecisionReply":
        if self.action == "update" and self.memo is None:
            raise ValueError("memo must hold the whole new text with action update")
        return self


class MergeReply(Reply):
    """Validated with the context {"count": number of items}: every item is decided on exactly once."""

    step: ClassVar[str] = "merge"
    decisions: list[DecisionReply]

    @model_validator(mode="after")
    def _check_indices(self, info: ValidationInfo) -> "MergeReply":
        count = (info.context or {}).get("count")
        indices = sorted(decision.index for decision in self.decisions)
        if count is not None and indices != list(range(count)):
            raise ValueError(f"decisions must hold every index from 0 to {count - 1} exactly once")
        return self


class JoinReply(Reply):
    members: list[int]
    sub_topic: Name
    memo: Text


class OrganizeReply(Reply):
    """What may be joined with what depends on the topics asked for, so it is judged beside the schema."""

    step: ClassVar[str] = "organize"
    joins: list[JoinReply]


class ShorterReply(Reply):
    index: int
    memo: Text


class CompactReply(Reply):
    """Validated with the context {"count": number of memos}: every memo has exactly one shorter one."""

    step: ClassVar[str] = "compact"
    memos: list[ShorterReply]

    @model_validator(mode="after")
    def _check_indices(self, info: ValidationInfo) -> "CompactReply":
        count = (info.context or {}).get("count")
        indices = sorted(memo.index for memo in self.memos)
        if count is not None and indices != list(range(count)):
            raise ValueError(f"memos must hold every index from 0 to {count - 1} exactly once")
        return self


def read_reply(text: str, model: type[ReplyModel], count: int) -> ReplyModel:
    """The validated answer in a reply, which may stand among reasoning or in a code block.

    Raises InvalidReply.
    """
    ends = [match.end() for match in _END_OF_REASONING.finditer(text)]
    document = (ends and _find_object(text[ends[-1] :], model)) or _find_object(text, model)
    if document is None:
        raise InvalidReply("the answer holds no complete JSON object of the schema")
    try:
        return model.model_validate(document, context={"count": count})
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        lines = (f"{'.'.join(str(part) for part in item['loc']) or 'the object'}: {item['msg']}" for item in found)
        raise InvalidReply("\n".join(list(lines)[:20])) from None


@cache
def strict_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema, short, as strict structured output wants it: every field required, no other allowed.

    The same object each time: nobody may change it.
    """
    schema = model.model_json_schema()
    return _strict(schema, schema.get("$defs", {}))


def _strict(schema: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return _strict(models[schema["$ref"].rpartition("/")[2]], models)
    # Titles, descriptions and defaults cost tokens and say nothing that the prompt does not.
    kept = {key: value for key, value in schema.items() if key not in ("title", "description", "default", "$defs")}
    if "anyOf" in kept and all(set(choice) == {"type"} for choice in kept["anyOf"]):
        kept["type"] = [choice["type"] for choice in kept.pop("anyOf")]
    if "properties" in kept:
        kept["properties"] = {name: _strict(field, models) for name, field in kept["properties"].items()}
        kept["required"] = list(kept["properties"])
        kept["additionalProperties"] = False
    if "items" in kept:
        kept["items"] = _strict(kept["items"], models)
    return kept


def _find_object(text: str, model: type[BaseModel]) -> dict[str, Any] | None:
    """The last object with a field of the model: who thinks aloud drafts first."""
    decoder = json.JSONDecoder()
    position = text.find("{")
    found: dict[str, Any] | None = None
    for _ in range(MAX_BRACES):
        if position < 0:
            break
        try:
            document, end = decoder.raw_decode(text, position)
        # Not only JSONDecodeError: Python refuses numbers of thousands of digits, which a model that loops writes.
        except (ValueError, RecursionError):
            end = position + 1
        else:
            if isinstance(document, dict) and document.keys() & model.model_fields.keys():
                found = document
        position = text.find("{", end)
    return found
