"""Every metric by its name: what it counts, its kind and its labels; and the port through which parts count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

MetricName = Literal[
    # Stages that read Kafka.
    "memostream_consumer_lag_records",  # records before the end of a partition that are not decided yet
    "memostream_partitions",  # partitions that this worker has
    "memostream_rebalances_total",  # assignments taken up
    "memostream_records_total",  # records decided, by what became of them
    "memostream_ingested_blobs_total",  # blobs that records of source topics gave, and pieces that were left out
    "memostream_dead_letters_total",  # dead letters, by reason
    "memostream_transactions_total",  # Kafka transactions, by how they ended
    "memostream_transaction_duration_seconds",  # seconds from the begin of a transaction to the broker's answer
    "memostream_transaction_records",  # records of one transaction
    # Buffer.
    "memostream_buffer_blobs",  # blobs that wait for their window
    "memostream_buffer_tokens",  # their tokens
    "memostream_buffer_bytes",  # their size, encoded
    "memostream_buffer_users",  # buffers that are not empty, of a user and a type
    "memostream_buffer_oldest_age_seconds",  # seconds since the oldest of these blobs reached Kafka
    "memostream_windows_total",  # windows closed, by reason
    # Extraction.
    "memostream_extraction_open_windows",  # windows and commands read and not finished
    "memostream_extraction_in_flight",  # attempts under way, those that wait for the model among them
    "memostream_extraction_duration_seconds",  # seconds of an attempt, by how it ended
    "memostream_extraction_waits_total",  # attempts put off, by what they wait for
    "memostream_units_total",  # units brought to an end, by what became of them and by extractor
    "memostream_windows_held_total",  # windows moved to held_windows, by reason
    "memostream_held_windows",  # windows in held_windows, by reason
    "memostream_held_oldest_age_seconds",  # seconds since the oldest of them was held
    "memostream_budget_reached_total",  # budgets that were used up
    # Models.
    "memostream_llm_calls_total",  # calls to a model, by step and how they ended
    "memostream_llm_call_duration_seconds",  # seconds of a call, its retries and waits at the gate included
    "memostream_llm_calls_in_flight",  # calls under way, those that wait at the gate among them
    "memostream_llm_invalid_replies_total",  # answers that do not fit what was asked for
    "memostream_llm_tokens_total",  # tokens, as the provider counted them, by kind
    "memostream_llm_cost_total",  # money, in prices.currency
    # Outbox and relay.
    "memostream_outbox_rows",  # rows that wait to be published
    "memostream_outbox_oldest_age_seconds",  # seconds since the oldest of them was written
    "memostream_published_rows_total",  # rows published, by topic
    "memostream_relay_shards",  # shards that this relay has
    "memostream_relay_leases_lost_total",  # shards that another relay took, or whose lease expired
    "memostream_relay_refused_rows_total",  # rows that the broker would not take
    # Gateway.
    "memostream_http_requests_total",  # requests answered, by route and status
    "memostream_http_request_duration_seconds",  # seconds to the end of the answer
    "memostream_http_requests_in_flight",  # requests under way
    "memostream_change_streams",  # change streams open
    # Process.
    "memostream_stalled",  # 1 while a role has work and makes no progress
    "memostream_event_loop_lag_seconds",  # the longest time, of the last minute, that the loop did not turn
    "memostream_build_info",  # always 1
]
Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]

NAMES: Final[tuple[MetricName, ...]] = get_args(MetricName)

# From a local transaction to a model that takes minutes.
DURATION_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
RECORD_BUCKETS: Final = (1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0)

_OF_DATABASE: Final = "Read from Postgres, so it is the same from any worker: take the max, not the sum."


@dataclass(frozen=True, slots=True)
class Metric:
    """How a metric is shown. No label may hold what users choose: users, projects, texts."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _seconds(text: str, *labels: str) -> Metric:
    return Metric("histogram", text, labels, DURATION_BUCKETS_S)


METRICS: Final[Mapping[MetricName, Metric]] = {
    "memostream_consumer_lag_records": Metric(
        "gauge",
        "Offsets between the end of a partition that this worker has and the next one that it decides; gaps count.",
        ("role", "topic", "partition"),
    ),
    "memostream_partitions": Metric("gauge", "Partitions that this worker has.", ("role",)),
    "memostream_rebalances_total": Metric("counter", "Assignments of partitions that were taken up.", ("role",)),
    "memostream_records_total": Metric(
        "counter",
        "Records decided and committed. outcome: buffered, duplicate, command, forwarded (to the partition of its "
        "key), parked, null (no value); of ingest only parked and null, for a record may give many blobs.",
        ("stage", "outcome"),
    ),
    "memostream_ingested_blobs_total": Metric(
        "counter", "Blobs that the records of source topics gave. outcome: mapped, or why ignored.", ("outcome",)
    ),
    "memostream_dead_letters_total": Metric(
        "counter", "Dead letters written; reason is the code in the letter.", ("stage", "reason")
    ),
    "memostream_transactions_total": Metric(
        "counter",
        "Kafka transactions. outcome: committed, failed (outcome unknown or refused), fenced (another worker has "
        "taken over), abandoned (by a rebalance or the end).",
        ("stage", "outcome"),
    ),
    "memostream_transaction_duration_seconds": _seconds("Duration of the transactions that were committed.", "stage"),
    "memostream_transaction_records": Metric(
        "histogram", "Records that a committed transaction has read or published.", ("stage",), RECORD_BUCKETS
    ),
    "memostream_buffer_blobs": Metric("gauge", "Blobs that wait for their window, of this worker's partitions."),
    "memostream_buffer_tokens": Metric("gauge", "Tokens of the blobs that wait for their window."),
    "memostream_buffer_bytes": Metric("gauge", "Encoded size of the blobs that wait for their window."),
    "memostream_buffer_users": Metric("gauge", "Buffers that hold something; a user has one for each type of blob."),
    "memostream_buffer_oldest_age_seconds": Metric(
        "gauge", "Time since the oldest blob that waits for its window was written to Kafka; 0 where none waits."
    ),
    "memostream_windows_total": Metric(
        "counter", "Windows closed. reason: tokens, size, age, idle, flush.", ("reason",)
    ),
    "memostream_extraction_open_windows": Metric("gauge", "Windows and commands that are read and not finished."),
    "memostream_extraction_in_flight": Metric("gauge", "Attempts under way; extraction.concurrency is the most."),
    "memostream_extraction_duration_seconds": _seconds(
        "Duration of an attempt, from its slot to its transaction. outcome: applied, parked, duplicate, erased, "
        "waiting (what it needs is away, or a budget used up), stopped.",
        "outcome",
    ),
    "memostream_extraction_waits_total": Metric(
        "counter",
        "Attempts put off. reason: endpoint-away (Postgres counts here, too), endpoint-refused, budget.",
        ("reason",),
    ),
    "memostream_units_total": Metric(
        "counter",
        "Units brought to an end. outcome: applied, parked, skipped (applied, parked or deleted before). "
        "extractor: its kind and version.",
        ("outcome", "extractor"),
    ),
    "memostream_windows_held_total": Metric(
        "counter",
        "Windows and commands put into held_windows. reason: endpoint-away, endpoint-refused, behind-held, budget.",
        ("reason",),
    ),
    "memostream_held_windows": Metric(
        "gauge", f"Windows and commands that are held, by the reason of the last try. {_OF_DATABASE}", ("reason",)
    ),
    "memostream_held_oldest_age_seconds": Metric(
        "gauge", f"Time since the oldest held window was held; 0 where none is. {_OF_DATABASE}"
    ),
    "memostream_budget_reached_total": Metric(
        "counter", "Budgets of a user or a project that this worker found used up, once a day each.", ("budget",)
    ),
    "memostream_llm_calls_total": Metric(
        "counter",
        "Calls to a model. step: extract, merge, organize, compact, embed, read (for the gateway). outcome: ok, away, "
        "refused (key, model, quota), rejected (content, or a reply that is none), too-long, cancelled.",
        ("model", "step", "outcome"),
    ),
    "memostream_llm_call_duration_seconds": _seconds(
        "Duration of a call, with its retries and what it waited at the gate.", "model", "step"
    ),
    "memostream_llm_calls_in_flight": Metric("gauge", "Calls under way, those that wait at the gate among them."),
    "memostream_llm_invalid_replies_total": Metric(
        "counter",
        "Answers that do not fit what was asked for; the first is sent back, the second rejects the content.",
        ("model", "step"),
    ),
    "memostream_llm_tokens_total": Metric(
        "counter",
        "Tokens that extraction used. kind: prompt (cached ones among them), completion, cached, embedding.",
        ("model", "kind"),
    ),
    "memostream_llm_cost_total": Metric(
        "counter", "What extraction has cost by the price list, in prices.currency.", ("model",)
    ),
    "memostream_outbox_rows": Metric("gauge", f"Rows of the outbox that wait to be published. {_OF_DATABASE}"),
    "memostream_outbox_oldest_age_seconds": Metric(
        "gauge", f"Time since the oldest row of the outbox was written; 0 where none waits. {_OF_DATABASE}"
    ),
    "memostream_published_rows_total": Metric("counter", "Rows of the outbox that were published.", ("topic",)),
    "memostream_relay_shards": Metric("gauge", "Shards of users whose changes this worker publishes."),
    "memostream_relay_leases_lost_total": Metric(
        "counter", "Shards that this worker lost to another one, or because it could not renew its lease in time."
    ),
    "memostream_relay_refused_rows_total": Metric(
        "counter", "Rows that the broker refuses because they are too large; their users wait."
    ),
    "memostream_http_requests_total": Metric(
        "counter",
        "Requests answered. route: its template. status: of HTTP, or the errno that the body names.",
        ("method", "route", "status"),
    ),
    "memostream_http_request_duration_seconds": _seconds(
        "Duration of a request to the end of its answer; change streams are left out.", "method", "route"
    ),
    "memostream_http_requests_in_flight": Metric("gauge", "Requests under way, change streams among them."),
    "memostream_change_streams": Metric("gauge", "Change streams that are open at this gateway."),
    "memostream_stalled": Metric(
        "gauge",
        "1 while the role has had work for worker.stalled_after_s and made no progress, with all that it needs there.",
        ("role",),
    ),
    "memostream_event_loop_lag_seconds": Metric(
        "gauge", "The longest time of the last minute for which the event loop did not turn."
    ),
    "memostream_build_info": Metric("gauge", "1; what runs is in the labels.", ("version", "python")),
}


class Metrics(Protocol):
    """Where parts count. A call takes about a microsecond and never fails for what happens outside.

    Labels are those of METRICS, all of them.
    """

    def add(self, name: MetricName, amount: float = 1.0, /, **labels: str) -> None:
        """Raise a counter; `amount` may be negative for a gauge."""

    def observe(self, name: MetricName, value: float, /, **labels: str) -> None:
        """Count a value in a histogram."""

    def replace(self, name: MetricName, series: Mapping[tuple[str, ...], float], /) -> None:
        """Give a gauge these series and no others, by the values of its labels in their order."""


class NoMetrics:
    """Counts nothing."""

    def add(self, name: MetricName, amount: float = 1.0, /, **labels: str) -> None: ...

    def observe(self, name: MetricName, value: float, /, **labels: str) -> None: ...

    def replace(self, name: MetricName, series: Mapping[tuple[str, ...], float], /) -> None: ...


NO_METRICS: Final = NoMetrics()
