"""What Memobase has of a user as memory of ours. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from api.events import GIST, text_of
from extraction.memos import SEPARATOR
from schemas.errors import InvalidRecord
from schemas.export import (
    IMPORTED,
    ExportedBlob,
    ExportedChange,
    ExportedEntry,
    ExportedEvent,
    ExportedGist,
    ExportedStatus,
    ExportedTag,
    ExportedUnit,
    InvalidExport,
    UserExport,
)
from schemas.identity import derived_uuid
from schemas.profile_schema import unify_name
from schemas.records import Command, describe_validation_error, parse_record
from storage.memobase_source import SourceRow, SourceUser

DONE: Final = "done"
# All of it came at once.
_REVISION: Final = 1

SlotKey = tuple[str, str]


@dataclass(slots=True)
class Notes:
    """What is not as it was, counted by reason, and the blobs that Memobase never made memory of, as records."""

    skipped: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    unprocessed: list[Mapping[str, Any]] = field(default_factory=list)


def memory_of(source: SourceUser, project_id: str, exported_at: datetime) -> tuple[UserExport, Notes]:
    """The user's memory, with Memobase's ids and times, as an export of ours; nothing in it has an extractor.

    Raises InvalidExport where the user cannot be one of ours.
    """
    notes = Notes()
    profile, history = _profile(source.profiles, notes)
    units, blobs = _blobs(source, project_id, notes)
    try:
        memory = UserExport(
            project_id=project_id,
            user_id=source.user_id,
            exported_at=exported_at,
            revision=_REVISION,
            fields=dict(source.fields) if isinstance(source.fields, Mapping) else None,
            created_at=source.created_at,
            updated_at=source.updated_at,
            profile=profile,
            history=history,
            events=tuple(_events(source, notes)),
            units=units,
            blobs=blobs,
            statuses=tuple(_statuses(source.statuses, notes)),
        )
    except ValidationError as error:
        raise InvalidExport("invalid-export", describe_validation_error(error)) from None
    return memory, notes


def _profile(rows: Sequence[SourceRow], notes: Notes) -> tuple[tuple[ExportedEntry, ...], tuple[ExportedChange, ...]]:
    """An entry a slot: what several rows of a slot say, for Memobase may have several, stands in one, joined."""
    slots: dict[SlotKey, list[SourceRow]] = {}
    for row in rows:
        slot = _slot_of(row.values["attributes"])
        if slot is None or not row.values["content"].strip():
            notes.skipped["profile-without-slot" if slot is None else "blank-profile"] += 1
            continue
        slots.setdefault(slot, []).append(row)
    entries: list[ExportedEntry] = []
    changes: list[tuple[datetime, ExportedChange]] = []
    for slot, of_slot in sorted(slots.items()):
        ordered = sorted(of_slot, key=lambda row: (row.updated_at, row.id))
        notes.joined += len(ordered) - 1
        said: list[str] = []
        for row in ordered:
            if row.values["content"] in said:
                continue
            before = SEPARATOR.join(said) or None
            said.append(row.values["content"])
            change = ExportedChange(
                profile_id=ordered[0].id,
                topic=slot[0],
                sub_topic=slot[1],
                op="c" if before is None else "u",
                before=before,
                after=SEPARATOR.join(said),
                why=IMPORTED,
                revision=_REVISION,
                occurred_at=row.updated_at,
                recorded_at=row.updated_at,
            )
            changes.append((row.updated_at, change))
        last = changes[-1][1]
        hits = (ordered[-1].values["attributes"] or {}).get("update_hits")
        entry = ExportedEntry(
            id=ordered[0].id,
            topic=slot[0],
            sub_topic=slot[1],
            content=SEPARATOR.join(said),
            update_hits=hits if isinstance(hits, int) and hits >= 0 else 0,
            occurred_at=last.occurred_at,
            recorded_at=last.recorded_at,
            created_at=min(row.created_at for row in ordered),
            updated_at=last.recorded_at,
        )
        entries.append(entry)
    # As they happened, a slot's own changes in their order.
    return tuple(entries), tuple(change for _, change in sorted(changes, key=lambda item: item[0]))


def _events(source: SourceUser, notes: Notes) -> Iterable[ExportedEvent]:
    of_event: dict[object, list[SourceRow]] = {}
    for row in source.gists:
        of_event.setdefault(row.values["event_id"], []).append(row)
    for row in source.events:
        document = row.values["event_data"]
        data: Mapping[str, Any] = document if isinstance(document, Mapping) else {}
        summary, gists = _lines(row, data.get("event_tip"), of_event.get(row.id, ()))
        yield ExportedEvent(
            id=row.id,
            summary=summary,
            tags=tuple(_each(data.get("event_tags"), "event-tag", notes, lambda tag: ExportedTag(**_pair(tag)))),
            profile_delta=tuple(_each(data.get("profile_delta"), "event-fact", notes, _fact)),
            gists=gists,
            revision=_REVISION,
            occurred_at=row.created_at,
            recorded_at=row.created_at,
            updated_at=row.updated_at if row.updated_at > row.created_at else None,
        )


def _lines(row: SourceRow, tip: object, rows: Iterable[SourceRow]) -> tuple[str | None, tuple[ExportedGist, ...]]:
    """The summary and the lines, in the order of the text that Memobase keeps beside them; each line once."""
    text = text_of(tip) if isinstance(tip, str) and tip.strip() else None
    said = {content: gist for gist in rows if (content := _content_of(gist))}
    order = list(text.lines) if text is not None else []
    if text is not None and said and text.lines == (" ".join((text.summary or "").splitlines()),):
        # A text without marked lines is a summary; what stands for its lines are those that are there.
        order = []
    gists = []
    for line in dict.fromkeys([*order, *said]):
        gist = said.get(line)
        times = row if gist is None else gist
        gists.append(
            ExportedGist(
                id=derived_uuid("memobase-gist", row.id, line) if gist is None else gist.id,
                text=line,
                occurred_at=times.created_at,
                recorded_at=times.created_at,
            )
        )
    return None if text is None else text.summary, tuple(gists)


def _blobs(
    source: SourceUser, project_id: str, notes: Notes
) -> tuple[tuple[ExportedUnit, ...], tuple[ExportedBlob, ...]]:
    """Of what is in memory already units and texts; the rest is to be sent, for nothing has been made of it yet."""
    units: list[ExportedUnit] = []
    blobs: list[ExportedBlob] = []
    for row in source.blobs:
        record = {
            "id": str(row.id),
            "project_id": project_id,
            "user_id": source.user_id,
            "created_at": row.created_at.isoformat(),
            "blob_type": row.values["blob_type"],
            "blob_data": row.values["blob_data"],
            "fields": row.values["additional_fields"],
        }
        try:
            blob = parse_record({key: value for key, value in record.items() if value is not None})
        except InvalidRecord:
            notes.skipped["blob-of-another-shape"] += 1
            continue
        if isinstance(blob, Command):
            raise TypeError("a blob has no command")
        if DONE not in source.buffered.get(row.id, frozenset()):
            notes.unprocessed.append(blob.model_dump(mode="json", exclude={"v"}, exclude_none=True))
            continue
        units.append(
            ExportedUnit(
                blob_id=str(row.id),
                blob_type=blob.blob_type,
                state="applied",
                content_hash=blob.content_hash(),
                recorded_at=row.created_at,
            )
        )
        blobs.append(
            ExportedBlob(
                blob_id=str(row.id),
                blob_type=blob.blob_type,
                content=blob.content(),
                occurred_at=row.created_at,
                recorded_at=row.created_at,
            )
        )
    return tuple(units), tuple(blobs)


def _statuses(rows: Iterable[SourceRow], notes: Notes) -> Iterable[ExportedStatus]:
    return _each(
        rows,
        "status",
        notes,
        lambda row: ExportedStatus(
            kind=row.values["type"], attributes=row.values["attributes"], recorded_at=row.created_at
        ),
    )


def _each(found: object, what: str, notes: Notes, made: Callable[[Any], Any]) -> Iterable[Any]:
    """Each of a list that may be missing; one of another shape is skipped, and counted."""
    for item in found if isinstance(found, Sequence) and not isinstance(found, str) else ():
        try:
            yield made(item)
        except (ValidationError, TypeError, ValueError, KeyError, AttributeError):
            notes.skipped[f"{what}-of-another-shape"] += 1


def _pair(tag: Mapping[str, Any]) -> dict[str, Any]:
    return {"tag": tag["tag"], "value": tag["value"]}


def _fact(fact: Mapping[str, Any]) -> dict[str, Any]:
    slot = fact["attributes"]
    texts = [fact["content"], slot["topic"], slot["sub_topic"]]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a fact is of texts")
    return {"content": texts[0], "attributes": {"topic": texts[1], "sub_topic": texts[2]}, "message_ids": []}


def _slot_of(attributes: object) -> SlotKey | None:
    """As extraction names slots, so that the next statement finds this one."""
    named = attributes if isinstance(attributes, Mapping) else {}
    try:
        return unify_name(named["topic"]), unify_name(named["sub_topic"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _content_of(gist: SourceRow) -> str:
    data = gist.values["gist_data"]
    content = data.get("content") if isinstance(data, Mapping) else None
    return content.strip().removeprefix(GIST).strip() if isinstance(content, str) else ""
