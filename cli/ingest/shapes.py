"""What a document of a file holds, and the records of chat-messages that it becomes. Pure.

Without a mapping a document is recognised by its keys: our own records by `blob_data`, ChatGPT's conversations by
`mapping`, OpenAI-style conversations by `messages`, single messages by `content`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cli.ingest.chatgpt import exchanges, is_conversation
from cli.ingest.files import Document
from cli.ingest.sources import RecognisedSources
from schemas.errors import InvalidRecord
from schemas.mapping_blobs import Refusal, map_document
from schemas.mapping_fields import CompiledSource

UNKNOWN_SHAPE: Final = "unknown-shape"

# Where no mapping of the caller's own says it.
_SAID_BY: Final = {
    "user_id": "--user or --user-field",
    "content": "--content-field",
    "role": "--role or --role-field",
    "created_at": "--time-field or --time-format",
    "session_id": "--session-field",
    "id": "--id-field",
}


@dataclass(frozen=True, slots=True)
class Shaped:
    """The records of one document, each still to be checked; what was refused of it; what was left out on purpose."""

    records: Sequence[dict[str, Any]] = ()
    refusals: Sequence[InvalidRecord] = ()
    ignored: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Shapes:
    """How documents are read: by `mapping` if there is one, else as what they are recognised as."""

    mapping: CompiledSource | None
    recognised: RecognisedSources
    max_blob_bytes: int

    def read(self, document: Document) -> Shaped:
        value = document.value
        if self.mapping is not None:
            return self._mapped(document, self.mapping)
        if not isinstance(value, dict):
            return _refused("invalid-record", f"it must be a JSON object, is a {type(value).__name__}")
        if "command" in value:
            return _refused("command", "no commands are taken from files; memostream send and forget send them")
        if "blob_data" in value:
            return Shaped([value])
        if is_conversation(value):
            return _conversation(value)
        if isinstance(value.get("messages"), list):
            return self._mapped(document, self.recognised.conversation(value))
        if self.recognised.is_message(value):
            return self._mapped(document, self.recognised.message(value))
        return _refused(
            UNKNOWN_SHAPE,
            "it has none of blob_data, messages, mapping and content; say with --content-field where the text is, or "
            "with --mapping how it is read",
        )

    def _mapped(self, document: Document, source: CompiledSource) -> Shaped:
        evaluated = {
            "value": document.value,
            "key": None,
            "headers": {},
            "topic": source.source.topic,
            "partition": None,
            "offset": document.number,
            "timestamp_ms": None,
        }
        mapped = map_document(evaluated, source, None, self.max_blob_bytes)
        return Shaped(
            [blob.blob.model_dump(mode="json", exclude_none=True) for blob in mapped.blobs],
            [InvalidRecord(refusal.reason, self._described(refusal)) for refusal in mapped.refusals],
            mapped.ignored,
        )

    def _described(self, refusal: Refusal) -> str:
        detail = refusal.detail if refusal.item is None else f"item {refusal.item}: {refusal.detail}"
        if self.mapping is not None:
            return detail
        option = _SAID_BY.get(refusal.field)
        return f"{detail}; by {'--mapping' if option is None else f'{option}, or by --mapping'}"


def _conversation(value: Mapping[str, Any]) -> Shaped:
    try:
        records = exchanges(value)
    except InvalidRecord as error:
        return Shaped(refusals=[error])
    return Shaped(records) if records else Shaped(ignored=Counter(["messages"]))


def _refused(reason: str, detail: str) -> Shaped:
    return Shaped(refusals=[InvalidRecord(reason, detail)])
