"""What a transaction publishes, as outbox rows: change events, states, tombstones, dead letters; pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from urllib.parse import quote
from uuid import UUID

from schemas import headers as header_names
from schemas.changes import (
    EVENT_UPDATED_TYPE,
    PROFILE_STATE_TYPE,
    PROFILE_UPDATED_TYPE,
    ChangeSource,
    Event,
    EventChanged,
    Extractor,
    Op,
    ProfileChanged,
    ProfileEntry,
    ProfileState,
)
from schemas.memory import ExtractorIdentity
from schemas.records import RECORD_VERSION
from schemas.trace import NO_TRACE, Trace
from schemas.windows import Unit
from storage.outbox import AggregateType, OutboxRow
from storage.text import epoch_ms, rfc3339, storable, to_json

DEAD_LETTER_TYPE: Final = "memostream.dead-letter.v1"
# In a profile's state; the table, the history and the change events name more.
STATE_MESSAGE_IDS: Final = 10


@dataclass
class Outgoing:
    """Gathers one transaction's outbox rows of one user, drawing `seq` for each."""

    project_id: str
    user_id: str
    seq: int
    now: datetime
    new_id: Callable[[], UUID]
    rows: list[OutboxRow] = field(default_factory=list)

    def profile_changed(
        self,
        op: Op,
        before: ProfileEntry | None,
        after: ProfileEntry | None,
        revision: int,
        source: ChangeSource,
        trace: Trace = NO_TRACE,
    ) -> None:
        """A change of one profile entry, for `profile-updated`."""
        change = ProfileChanged(
            op=op,
            before=before,
            after=after,
            ts_ms=epoch_ms(self.now),
            revision=revision,
            project_id=self.project_id,
            user_id=self.user_id,
            source=source,
        )
        self._add_for_user("profile-updated", PROFILE_UPDATED_TYPE, change.model_dump_json(), trace)

    def event_changed(
        self,
        op: Op,
        before: Event | None,
        after: Event | None,
        revision: int,
        source: ChangeSource,
        trace: Trace = NO_TRACE,
    ) -> None:
        """A change of one event, for `event-updated`."""
        change = EventChanged(
            op=op,
            before=before,
            after=after,
            ts_ms=epoch_ms(self.now),
            revision=revision,
            project_id=self.project_id,
            user_id=self.user_id,
            source=source,
        )
        self._add_for_user("event-updated", EVENT_UPDATED_TYPE, change.model_dump_json(), trace)

    def profile_state(self, revision: int, entries: Sequence[ProfileEntry], trace: Trace = NO_TRACE) -> None:
        """The whole profile, for the compacted `profiles`: one a transaction, after its changes.

        Each entry names its latest messages only, so that the record of a long-known user still fits the topic.
        """
        state = ProfileState(
            project_id=self.project_id,
            user_id=self.user_id,
            revision=revision,
            ts_ms=epoch_ms(self.now),
            profile=[
                entry.model_copy(update={"message_ids": entry.message_ids[-STATE_MESSAGE_IDS:]}) for entry in entries
            ],
        )
        self._add_for_user("profiles", PROFILE_STATE_TYPE, state.model_dump_json(), trace)

    def profile_tombstone(self, trace: Trace = NO_TRACE) -> None:
        """The end of a user on `profiles`."""
        self._add_for_user("profiles", PROFILE_STATE_TYPE, None, trace)

    def dead_letter(
        self,
        unit: Unit,
        pieces: Iterable[tuple[int | None, int | None]],
        *,
        stage: str,
        reason: str,
        detail: str,
        attempts: int,
        exception: str | None,
    ) -> None:
        """The blob of a parked unit as it was sent, less what only its piece of it holds.

        It has no CloudEvents headers: sent again to `chat-messages`, it would be taken for one of our own events, which
        hold no messages.
        """
        document = {
            "v": RECORD_VERSION,
            "id": unit.blob_id,
            "project_id": self.project_id,
            "user_id": self.user_id,
            **{key: value for key, value in unit.content.items() if value is not None},
        }
        named = {
            header_names.BLOB_ID: unit.blob_id,
            header_names.ERROR_TOPIC: unit.position.topic,
            header_names.ERROR_PARTITION: str(unit.position.partition),
            header_names.ERROR_OFFSET: str(unit.position.offset),
            header_names.ERROR_TIMESTAMP: str(unit.position.timestamp_ms),
            header_names.ERROR_STAGE: stage,
            header_names.ERROR_REASON: reason,
            header_names.ERROR_MESSAGE: detail,
            header_names.ERROR_ATTEMPTS: str(attempts),
        }
        if exception is not None:
            named[header_names.ERROR_EXCEPTION] = exception
        listed = sorted([list(piece) for piece in pieces if piece != (None, None)], key=str)
        if listed:
            named[header_names.ERROR_PIECES] = to_json(listed)
        if unit.origin is not None:
            named |= {
                header_names.ORIGIN_TOPIC: unit.origin.topic,
                header_names.ORIGIN_PARTITION: str(unit.origin.partition),
                header_names.ORIGIN_OFFSET: str(unit.origin.offset),
                header_names.ORIGIN_TIMESTAMP: str(unit.origin.timestamp_ms),
            }
        named |= {"content-type": "application/json", **unit.trace.named()}
        self._add("dead-letters", self.user_id, DEAD_LETTER_TYPE, to_json(document), named, self.new_id())

    def kept_letter(self, letter_id: UUID, payload: str, named: Mapping[str, str]) -> None:
        """A dead letter that was made before, with its headers."""
        self._add("dead-letters", self.user_id, DEAD_LETTER_TYPE, payload, named, letter_id)

    def _add_for_user(self, aggregate_type: AggregateType, type_: str, payload: str | None, trace: Trace) -> None:
        row_id = self.new_id()
        named = {
            "ce_specversion": "1.0",
            "ce_id": str(row_id),
            "ce_type": type_,
            # A URI reference, which a project's id alone need not be.
            "ce_source": f"/memostream/{quote(self.project_id, safe='')}",
            "ce_subject": self.user_id,
            "ce_time": rfc3339(self.now),
            "content-type": "application/json",
            **trace.named(),
        }
        self._add(aggregate_type, f"{self.project_id}/{self.user_id}", type_, payload, named, row_id)

    def _add(
        self,
        aggregate_type: AggregateType,
        key: str,
        type_: str,
        payload: str | None,
        named: Mapping[str, str],
        row_id: UUID,
    ) -> None:
        self.seq += 1
        self.rows.append(
            OutboxRow(
                id=row_id,
                aggregate_type=aggregate_type,
                aggregate_id=key,
                type=type_,
                payload=payload,
                headers={name: storable(value) for name, value in named.items()},
                project_id=self.project_id,
                user_id=self.user_id,
                seq=self.seq,
                created_at=self.now,
            )
        )


def change_source(
    units: Sequence[Unit],
    window_ids: Sequence[UUID],
    message_ids: Sequence[str],
    extractor: ExtractorIdentity | None,
    snapshot: Literal["false", "true", "last"] = "false",
) -> ChangeSource:
    """Where a change came from; the offsets span those units that lie with the first on one partition."""
    named = None
    if extractor is not None:
        named = Extractor(
            name=extractor.name,
            version=extractor.version,
            model=extractor.model,
            prompt_hash=extractor.prompt_hash,
        )
    first = units[0].position if units else None
    offsets = [
        unit.position.offset
        for unit in units
        if first is not None and (unit.position.topic, unit.position.partition) == (first.topic, first.partition)
    ]
    return ChangeSource(
        window_ids=window_ids,
        topic=None if first is None else first.topic,
        partition=None if first is None else first.partition,
        offset_from=min(offsets, default=None),
        offset_to=max(offsets, default=None),
        message_ids=message_ids,
        extractor=named,
        snapshot=snapshot,
    )
