"""What a stage counts and traces that writes Kafka in transactions: once for each, whatever it holds."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal

from schemas.errors import LeaseLost, MemostreamError
from schemas.metrics import Metrics
from schemas.trace import Trace
from schemas.tracing import DESTINATION, MESSAGE_COUNT, NO_TRACER, OPERATION_NAME, OURS, Attributes, SpanKind, Tracer

Stage = Literal["ingest", "buffer", "relay"]

# What follows each is a label: a reason, why ingest left a piece out, a topic.
WINDOW: Final = "window."
LETTER: Final = "letter."
IGNORED: Final = "ignored."
ROW: Final = "row."
RECORDS: Final = "records"
MAPPED: Final = "mapped"


class StageMetrics:
    """Of one stage of a worker, shared by its partitions or shards. `moved` grows with each sign of progress."""

    def __init__(
        self,
        metrics: Metrics,
        stage: Stage,
        monotonic: Callable[[], float] = time.perf_counter,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.metrics = metrics
        self.moved = 0
        self._tracer = tracer
        self._stage = stage
        self._monotonic = monotonic

    @contextmanager
    def transaction(
        self, counts: Mapping[str, int], about: Attributes, traces: Iterable[Trace], records: int | None = None
    ) -> Iterator[None]:
        """Around a commit; `counts` are those of its effects, and count only once it is done.

        Its span has the attributes `about`, and is linked to `traces`.
        """
        size = counts.get(RECORDS, 0) if records is None else records
        name = f"{about[OPERATION_NAME]} {about.get(DESTINATION, self._stage)}"
        kind: SpanKind = "producer" if self._stage == "relay" else "consumer"
        with self._tracer.span(kind, name, {**about, MESSAGE_COUNT: size}, traces) as span, self._counted(counts, size):
            yield
            span.note({f"{OURS}{what}": count for what, count in counts.items() if what != RECORDS})

    @contextmanager
    def _counted(self, counts: Mapping[str, int], size: int) -> Iterator[None]:
        begin_s = self._monotonic()
        try:
            yield
        except LeaseLost:
            self._ended("fenced")
            raise
        except MemostreamError:
            self._ended("failed")
            raise
        except asyncio.CancelledError:
            self._ended("abandoned")
            raise
        self.moved += 1
        self._ended("committed")
        self.metrics.observe("memostream_transaction_duration_seconds", self._monotonic() - begin_s, stage=self._stage)
        self.metrics.observe("memostream_transaction_records", size, stage=self._stage)
        for name, count in counts.items():
            self._count(name, count)

    def lease_lost(self) -> None:
        self.metrics.add("memostream_relay_leases_lost_total")

    def row_refused(self) -> None:
        self.metrics.add("memostream_relay_refused_rows_total")

    def _ended(self, outcome: str) -> None:
        self.metrics.add("memostream_transactions_total", stage=self._stage, outcome=outcome)

    def _count(self, name: str, count: int) -> None:
        if name == RECORDS:
            return
        if name.startswith(WINDOW):
            self.metrics.add("memostream_windows_total", count, reason=name.removeprefix(WINDOW))
        elif name.startswith(LETTER):
            reason = name.removeprefix(LETTER)
            self.metrics.add("memostream_dead_letters_total", count, stage=self._stage, reason=reason)
        elif name.startswith(ROW):
            self.metrics.add("memostream_published_rows_total", count, topic=name.removeprefix(ROW))
        elif name == MAPPED or name.startswith(IGNORED):
            self.metrics.add("memostream_ingested_blobs_total", count, outcome=name.removeprefix(IGNORED))
        else:
            self.metrics.add("memostream_records_total", count, stage=self._stage, outcome=name)
