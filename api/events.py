"""Events in Memobase's shape: one text, `event_tip`, stands for our summary and gists, and is taken apart again."""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Final

from api.lines import profile_line
from api.models.events import EventBody
from schemas.tokens import TokenCounter
from storage.browsing import EventRow
from storage.editing_events import EventEdit, EventText

GIST: Final = "- "


def event_tip(event: EventRow) -> str | None:
    """The summary, then a line a gist; `text_of` takes it apart."""
    lines = [" ".join(gist.text.splitlines()) for gist in event.gists]
    if event.summary is not None and lines == [" ".join(event.summary.splitlines())]:
        return event.summary
    said = ([] if event.summary is None else [event.summary]) + [GIST + line for line in lines]
    return "\n".join(said) if said else None


def text_of(tip: str) -> EventText:
    """Summary and gists: the lines at the end that are marked, or all of it where none is.

    So that an event that was edited is found, and shown in a context, by what it says now.
    """
    lines = [line.rstrip() for line in tip.strip().splitlines()]
    ending = list(takewhile(lambda line: not line or line.startswith(GIST), reversed(lines)))[::-1]
    gists = [line.removeprefix(GIST).strip() for line in ending if line]
    summary = "\n".join(lines[: len(lines) - len(ending)]) or None
    if summary is not None and not gists:
        gists = [" ".join(summary.splitlines())]
    return EventText(summary, tuple(gists))


def edit_of(body: EventBody) -> EventEdit:
    """What a body asks for."""
    return EventEdit(
        text=None if body.event_tip is None else text_of(body.event_tip),
        tags=None if body.event_tags is None else [tag.model_dump() for tag in body.event_tags],
        profile_delta=None if body.profile_delta is None else [fact.model_dump() for fact in body.profile_delta],
    )


def event_answer(event: EventRow, similarity: float | None = None) -> dict[str, Any]:
    """An event as it is answered."""
    return {
        # asyncpg has a UUID of its own, which orjson does not write.
        "id": str(event.event_id),
        "event_data": {
            "profile_delta": [
                {"content": fact["content"], "attributes": fact["attributes"]} for fact in event.profile_delta
            ],
            "event_tip": event_tip(event),
            "event_tags": list(event.tags),
        },
        "created_at": event.recorded_at,
        "updated_at": event.updated_at or event.recorded_at,
        "similarity": similarity,
    }


def within_budget(events: Iterable[EventRow], max_tokens: int | None, count: TokenCounter) -> Sequence[EventRow]:
    """The events up to the first that the budget does not hold any more."""
    chosen: list[EventRow] = []
    used = 0
    for event in events:
        if max_tokens is not None:
            used += count(_said(event))
            if used > max_tokens:
                break
        chosen.append(event)
    return chosen


def _said(event: EventRow) -> str:
    facts = [
        f"- {profile_line(fact['attributes']['topic'], fact['attributes']['sub_topic'], fact['content'])}"
        for fact in event.profile_delta
    ]
    tags = [f"- {tag['tag']}: {tag['value']}" for tag in event.tags]
    return "\n".join([*([tip] if (tip := event_tip(event)) else []), *facts, *tags])
