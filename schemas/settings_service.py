"""Settings of the database, the relay and the worker process."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr

from schemas.addresses import DatabaseUrl, Endpoint
from schemas.section import Section


class StorageSettings(Section):
    """Postgres with pgvector."""

    database_url: DatabaseUrl = Field(
        SecretStr("postgresql+asyncpg://postgres@127.0.0.1:5432/memostream"),
        description="Must start with postgresql+asyncpg://. It holds a password in most places: set the variable "
        "instead.",
    )
    pool_size: PositiveInt = Field(
        10, description="Connections that one process keeps; while all are in use, it opens as many more."
    )
    connect_timeout_s: PositiveFloat = Field(10.0, description="How long connecting may take.")
    idle_in_transaction_session_timeout_s: PositiveFloat = Field(
        30.0,
        description="Postgres ends a transaction that stands still for this long, so that a frozen worker frees its "
        "locks.",
    )
    persistent_chat_blobs: bool = Field(
        False, description="Keep the text of messages in Postgres, too; else it stays in Kafka only."
    )
    usage_retention_days: PositiveInt | None = Field(
        400, description="What extraction has spent is forgotten after so many days; never if null."
    )


class RelaySettings(Section):
    """The relay, which publishes what the outbox table holds."""

    shards: PositiveInt = Field(4, description="Of users; how many relays may publish side by side.")
    lease_s: PositiveFloat = Field(
        10.0, description="A relay that is killed or frozen loses its shards after this long."
    )
    poll_interval_s: PositiveFloat = Field(1.0, description="How often the outbox is looked at without being told.")
    batch_rows: PositiveInt = Field(500, description="Rows published at a time.")


class WorkerSettings(Section):
    """A worker process."""

    start_timeout_s: PositiveFloat = Field(
        60.0, description="How long a start waits for a broker or a database that is away, before the worker ends."
    )
    shutdown_timeout_s: PositiveFloat = Field(
        20.0,
        description="Windows that are not finished this long after Ctrl-C are handed back; 25 s later the process has "
        "ended, whatever hangs.",
    )
    metadata_refresh_s: PositiveFloat = Field(30.0, description="How soon a new partition or broker is noticed.")
    health_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of GET /livez and /readyz, for an orchestrator's probes, and of GET /metrics; null for none.",
    )
    stalled_after_s: PositiveFloat = Field(
        300.0,
        description="/livez fails when a role has work and has made no progress for so long, though all that it needs "
        "is there. Well above what one window and a rebalance take; waiting for a model, a budget, the broker or "
        "Postgres does not count.",
    )
    health_host: str = Field(
        "127.0.0.1", description="Address that takes the probes; 0.0.0.0 in a container, for they come from outside."
    )
    internal_host: str = Field(
        "127.0.0.1",
        description="Address that takes the gateway's questions about buffers; 0.0.0.0 where gateway and worker are on "
        "different machines. Only ids, places and hashes are told, to those who know the token in the database.",
    )
    internal_port: int | None = Field(
        None, ge=1, le=65535, description="Port of the same; any that is free if null, for the database tells it."
    )
    internal_url: Endpoint | None = Field(
        None,
        description="Where the gateway reaches it, if not at the address by which this machine reaches the broker.",
    )
    traces: bool = Field(
        False,
        description="Send OpenTelemetry spans by OTLP over HTTP; where to, as what and how many of them, the variables "
        "OTEL_* say. It needs the extra tracing, which the image has.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="How a line looks; auto is console on a terminal, else json."
    )
