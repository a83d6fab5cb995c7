"""The report on an erasure: what was removed where, what still holds data of the user, and until when."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.windows import Position

REPORT_NAME: Final = "erasure-report"
REPORT_ID: Final = "urn:memostream:schema:erasure-report:v1"

Stage = Literal["database", "buffer", "extraction", "relay", "shadows"]


class ReportModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageReport(ReportModel):
    """One part of the system, and whether it has done its part."""

    stage: Stage = Field(
        description="database: the rows are gone. buffer: what waited for its window is gone, from the table, the "
        "changelog and copies on disk. extraction: no window of before is under way. relay: the tombstone is out. "
        "shadows: what they had buffered is gone."
    )
    is_done: bool = Field(description="Whether it has.")
    detail: str | None = Field(None, description="What is missing, and what to do.")


class TableReport(ReportModel):
    """Rows that name the user. Embeddings lie in the rows of profiles, events and gists."""

    table: str = Field(description="Table in Postgres.")
    found: int = Field(description="How many there were.")
    left: int = Field(description="How many there are: those of messages that the user has sent since, else none.")


class BufferReport(ReportModel):
    """Messages that wait for their window, and windows on their way to extraction."""

    blobs: int = Field(description="How many blobs were buffered.")
    windows: int = Field(description="How many windows were not finished.")


class CompactedTopic(ReportModel):
    """A topic with `cleanup.policy=compact`: tombstones remove what lies there, and compaction takes it away."""

    topic: str = Field(description="Full name.")
    gone_by: datetime | None = Field(
        description="When the broker has removed the values, where anything more is written to the partition; null "
        "where nothing makes it."
    )
    tombstones_gone_by: datetime | None = Field(description="When the tombstones, whose keys name the user, are gone.")
    fix: str | None = Field(None, description="What bounds it.")


class RetainedTopic(ReportModel):
    """A topic with `cleanup.policy=delete`, of which Kafka removes no single records."""

    topic: str = Field(description="Full name.")
    retention_ms: int | None = Field(description="How long it keeps records, in milliseconds; null is for ever.")
    gone_by: datetime | None = Field(description="When everything of before the forget is gone; null is never.")
    fix: str | None = Field(None, description="What sets an end.")


class Elsewhere(ReportModel):
    """What memostream does not own, and cannot erase."""

    what: str = Field(description="Where it lies.")
    why: str = Field(description="Whose it is, and what to do.")


class ErasureReport(ReportModel):
    """What `memostream forget` has done, or would do."""

    v: Literal[1] = Field(1, description="Version of the report.")
    project_id: str = Field(description="Project.")
    user_id: str = Field(description="User.")
    user_hash: str = Field(description="All that is kept of the user's name, in the table forgotten_users: SHA-256.")
    created_at: datetime = Field(description="When the report was made.")
    is_executed: bool = Field(description="False of a dry run: nothing was changed.")
    is_complete: bool = Field(description="Whether every stage has done its part.")
    command: Position | None = Field(
        description="Where the command lies; null of a dry run, and where the user was forgotten before and nothing "
        "came since."
    )
    forgotten_at: datetime | None = Field(
        description="What was sent before is left out wherever it turns up again; null where nobody was forgotten."
    )
    stages: tuple[StageReport, ...] = Field(description="What was waited for.")
    tables: tuple[TableReport, ...] = Field(description="Postgres, memory with history and embeddings.")
    buffer: BufferReport = Field(description="What was on its way into memory.")
    compacted: tuple[CompactedTopic, ...] = Field(description="profiles, and the changelogs of buffers.")
    retained: tuple[RetainedTopic, ...] = Field(description="What still holds records, and until when.")
    elsewhere: tuple[Elsewhere, ...] = Field(description="What others hold.")


def report_schema() -> dict[str, Any]:
    """JSON Schema of the report, as it is printed."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": REPORT_ID}
    return {**head, **ErasureReport.model_json_schema(mode="serialization")}
