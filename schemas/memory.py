"""Memory as values: what extraction returns and storage keeps. Nothing here knows Kafka or Postgres."""

from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from schemas.windows import MessageId

Embedding = NDArray[np.float32]
ChangeOp = Literal["c", "u", "d"]


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """What vectors are made by: those of another model, or of another length, cannot be compared with them."""

    name: str
    dimension: int

    def __str__(self) -> str:
        return f"{self.name} with {self.dimension} dimensions"


@dataclass(frozen=True, slots=True)
class Slot:
    """One profile entry; (`topic`, `sub_topic`) is unique in a profile. `occurred_at` is when its content was said."""

    profile_id: UUID
    topic: str
    sub_topic: str
    content: str
    occurred_at: datetime
    update_hits: int = 0
    message_ids: tuple[MessageId, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """A slot whose entry was edited or removed by hand: what was said before has no say in it any more."""

    topic: str
    sub_topic: str
    corrected_at: datetime


@dataclass(frozen=True, slots=True)
class Profile:
    """A user's profile as read; `revision` 0 is a user who has none yet. `corrections` are one a slot at most."""

    revision: int = 0
    slots: tuple[Slot, ...] = ()
    corrections: tuple[Correction, ...] = ()

    def slot(self, topic: str, sub_topic: str) -> Slot | None:
        return next((s for s in self.slots if (s.topic, s.sub_topic) == (topic, sub_topic)), None)


def slot_text(topic: str, sub_topic: str, content: str) -> str:
    """An entry of a profile as its embedding is made of it: `basic info name: Ann`."""
    return f"{topic} {sub_topic}".replace("_", " ") + f": {content}"


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of a message, as they stand in it."""

    message_id: MessageId
    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """What one window says about the user; `message_ids` are those that it was taken from, never empty."""

    topic: str
    sub_topic: str
    memo: str
    message_ids: tuple[MessageId, ...]
    occurred_at: datetime
    quote: Quote | None = None


@dataclass(frozen=True, slots=True)
class Gist:
    """One event line of a window. `embedding` is (dim,) float32 of unit length."""

    text: str
    message_ids: tuple[MessageId, ...]
    occurred_at: datetime
    embedding: Embedding | None = None
    quote: Quote | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls to endpoints came to; tokens as the provider counted them.

    `completions` and `embedding_calls` are calls that were answered, also in vain. `prompt_tokens` hold the
    `cached_tokens`, and no `embedding_tokens`. `latency_ms` is the time of all calls added up, also where they ran
    side by side. What is computed here, without an endpoint, counts nothing. `models` says how much of all that was
    done by which model; equality does not ask for it.
    """

    completions: int = 0
    embedding_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    embedding_tokens: int = 0
    latency_ms: int = 0
    models: tuple[tuple[str, "Usage"], ...] = field(default=(), compare=False, kw_only=True)

    def of_model(self, model: str) -> "Usage":
        """The same, with all of it done by one model."""
        return replace(self, models=((model, replace(self, models=())),))

    @property
    def tokens(self) -> int:
        """What is paid for, of any kind."""
        return self.prompt_tokens + self.completion_tokens + self.embedding_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return _joined(self, other, 1)

    def __sub__(self, other: "Usage") -> "Usage":
        return _joined(self, other, -1)


def _joined(one: Usage, other: Usage, sign: int) -> Usage:
    names = (item.name for item in fields(Usage) if item.name != "models")
    models = dict(one.models)
    for model, usage in other.models:
        models[model] = _joined(models.get(model, Usage()), usage, sign)
    return Usage(
        *(getattr(one, name) + sign * getattr(other, name) for name in names),
        models=tuple((model, usage) for model, usage in models.items() if usage != Usage()),
    )


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a conversation says, before it meets the profile; depends on no profile, so a merge may be run again.

    `slot_embeddings` are those of texts that a merge found to be new slots, by `slot_text`.
    """

    facts: tuple[Fact, ...] = ()
    gists: tuple[Gist, ...] = ()
    summary: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    occurred_at: datetime | None = None
    summary_embedding: Embedding | None = None
    usage: Usage = field(default_factory=Usage)
    slot_embeddings: tuple[tuple[str, Embedding], ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class SlotChange:
    """One change of one slot. `before` is None for `c`, `after` None for `d`; `why` is a short code, not text.

    With `before` equal to `after` the same was said again, at `occurred_at`: the value stays and counts as newer.
    `joined` are the sub_topics of the same topic, deleted by the same update, whose content is in `after`. `quotes` are
    the words that it was taken from, as far as they are known.
    """

    op: ChangeOp
    topic: str
    sub_topic: str
    before: str | None
    after: str | None
    why: str
    message_ids: tuple[MessageId, ...]
    occurred_at: datetime
    joined: tuple[str, ...] = ()
    quotes: tuple[Quote, ...] = ()

    @property
    def restates(self) -> bool:
        return self.before is not None and self.before == self.after


@dataclass(frozen=True, slots=True)
class OverLimit:
    """A topic with too many sub_topics (`sub_topic` None) or a memo that is too long, left so; `reason` is a code."""

    topic: str
    sub_topic: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class MemoryUpdate:
    """The changes that one extraction makes to one profile, at most one a slot.

    `extraction` is the merged one with its embeddings. `dropped` are the facts that changed nothing, each with a short
    code saying why: every fact is either in `dropped` or its messages are in the change of the slot that holds it.
    `usage` is the sum. `over_limit` is what the policy's limits do not hold for, and why. `decided` is true
    where a model was asked about slots, not only to tidy them.
    """

    changes: tuple[SlotChange, ...] = ()
    extraction: Extraction = field(default_factory=Extraction)
    usage: Usage = field(default_factory=Usage)
    dropped: tuple[tuple[Fact, str], ...] = ()
    over_limit: tuple[OverLimit, ...] = ()
    decided: bool = False


@dataclass(frozen=True, slots=True)
class ExtractorIdentity:
    """Which extractor made a change: stored with every row and sent with every change event."""

    name: str
    version: str
    model: str
    prompt_hash: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} with model {self.model} and prompts {self.prompt_hash[:12]}"
