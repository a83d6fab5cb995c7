"""Spans: the port through which parts tell what they do, and the attribute names of OpenTelemetry's conventions."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, Protocol

from schemas.trace import Trace

# What one span is linked to at most; the SDK keeps as many by default.
MAX_LINKS: Final = 128

SpanKind = Literal["consumer", "producer", "client"]
Attributes = Mapping[str, str | int | Sequence[str]]

OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
GROUP: Final = "messaging.consumer.group.name"
MESSAGE_COUNT: Final = "messaging.batch.message_count"
ERROR_TYPE: Final = "error.type"
# Those below are ours, for what the conventions have no name.
OURS: Final = "memostream."
OUTCOME: Final = "memostream.outcome"
LINKS_LEFT_OUT: Final = "memostream.links_left_out"
NOTHING: Final[Attributes] = {}


class Span(Protocol):
    """What is under way."""

    def note(self, attributes: Attributes, /) -> None:
        """Add what is known only later."""


class Tracer(Protocol):
    """Where parts tell what they do. No attribute may hold texts, or ids of users or projects."""

    def span(
        self, kind: SpanKind, name: str, attributes: Attributes, links: Iterable[Trace] | None = None
    ) -> AbstractContextManager[Span]:
        """Around what is done; an exception that passes marks it as failed, by its class and without its text.

        With `links` it begins a trace of its own, linked to the first MAX_LINKS different ones of these; without, it
        is part of what is under way in this task.
        """

    async def close(self) -> None:
        """Send what is not sent; gives up after a farewell's time."""


class NoSpan:
    """Is not kept."""

    def note(self, attributes: Attributes, /) -> None: ...


class NoTracer:
    """Keeps nothing."""

    def span(
        self,
        kind: SpanKind,  # noqa: ARG002
        name: str,  # noqa: ARG002
        attributes: Attributes,  # noqa: ARG002
        links: Iterable[Trace] | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[Span]:
        return _NO_SPAN

    async def close(self) -> None: ...


_NO_SPAN: Final[AbstractContextManager[Span]] = nullcontext(NoSpan())
NO_TRACER: Final = NoTracer()


def consuming(topic: str, partition: int, group: str | None = None) -> Attributes:
    """Of what records of a partition become."""
    return {
        "messaging.system": "kafka",
        OPERATION_NAME: "process",
        OPERATION_TYPE: "process",
        DESTINATION: topic,
        PARTITION: str(partition),
        **({} if group is None else {GROUP: group}),
    }


def sending(topics: Iterable[str]) -> Attributes:
    """Of records that are sent together; a destination has a name only where it is one topic."""
    names = set(topics)
    attributes = {"messaging.system": "kafka", OPERATION_NAME: "send", OPERATION_TYPE: "send"}
    return {**attributes, DESTINATION: names.pop()} if len(names) == 1 else attributes
