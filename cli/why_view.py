"""The chain behind a fact or an event for a person, with the quoted words marked, and as JSON for a script."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from rich.text import Text

from cli.console import printable, short_time
from cli.watching import SIGNS
from cli.why_chain import ChangeLink, EventChain, MessageLink, Missing, SlotChain
from extraction.quotes import find_span
from schemas.export import IMPORTED
from schemas.windows import Position

# Of a longer message what stands around the quoted words is shown; JSON has all of it.
SHOWN_CHARACTERS: Final = 400
SHOWN_WINDOWS: Final = 3
HASH_CHARACTERS: Final = 12
MARK_BEGIN: Final = "»"
MARK_END: Final = "«"

_MISSING: Final[Mapping[Missing, str]] = {
    "removed": "its text is no longer on {topic}, which has removed it",
    "replaced": "its text is not to be had: {topic} was made anew since and holds something else there",
    "no-topic": "its text is not to be had: there is no topic {topic}",
    "unanswered": "its text was not read: Kafka did not answer; try again",
    "erased": "it was deleted",
    "unknown": "nothing is recorded of it",
    "no-text": "it holds no text",
}


def slot_view(chain: SlotChain) -> Text:
    """The current value, then its changes, the newest first."""
    text = Text.assemble((printable(chain.user_id), "bold"), "  ", (_slot(chain.topic, chain.sub_topic), "cyan"), ": ")
    if chain.current is not None:
        text.append(printable(chain.current.content), "bold")
    elif chain.joined_into is not None:
        text.append(f"not there any more; joined into {_slot(chain.topic, chain.joined_into)}", "dim")
    else:
        text.append("not there any more", "dim")
    for change in chain.changes:
        text.append("\n\n")
        text.append(_change_view(chain, change))
    if chain.older:
        text.append(f"\n\nand {chain.older} older changes; --limit shows more", "dim")
    return text


def event_view(chain: EventChain) -> Text:
    """The event's summary, who made it, and each of its lines with the messages behind it."""
    event = chain.event
    text = Text.assemble((printable(chain.user_id), "bold"), "  event ", (str(event.event_id), "cyan"))
    text.append(f"\n    said {short_time(event.occurred_at)}, ", "dim")
    text.append(f"recorded {short_time(event.recorded_at)}, revision {event.revision}", "dim")
    # Nobody makes an event by hand.
    text.append(_origin_of_change(event.extractor, event.window_ids, without_extractor=IMPORTED))
    if event.summary:
        text.append(f"\n\n{printable(event.summary)}", "bold")
    for line, messages in chain.lines:
        text.append(f"\n\n- {printable(line)}")
        text.append(_messages(messages))
    if chain.others:
        text.append("\n\nother messages" if chain.lines else "\n", "dim")
        text.append(_messages(chain.others))
    return text


def marked(content: str, quotes: Iterable[str], limit: int = SHOWN_CHARACTERS) -> Text:
    """The message in one line, cut to about `limit` characters around the first quoted words, which are marked."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(filter(None, (find_span(quote, content) for quote in quotes))):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    first = spans[0][0] if spans else 0
    begin = max(0, min(first - limit // 4, len(content) - limit))
    stop = min(len(content), max(begin + limit, spans[0][1] if spans else 0))
    text = Text("…" if begin else "")
    place = begin
    for start, end in spans:
        if end > stop:
            break
        text.append(printable(content[place:start]))
        text.append(f"{MARK_BEGIN}{printable(content[start:end])}{MARK_END}", "bold")
        place = end
    text.append(printable(content[place:stop]))
    return text.append("…" if stop < len(content) else "")


def slot_document(chain: SlotChain) -> dict[str, Any]:
    """A slot's chain for a script."""
    current = chain.current
    return {
        "project_id": chain.project_id,
        "user_id": chain.user_id,
        "topic": chain.topic,
        "sub_topic": chain.sub_topic,
        "current": None
        if current is None
        else {
            "id": current.profile_id,
            "content": current.content,
            "occurred_at": current.occurred_at,
            "recorded_at": current.recorded_at,
            "update_hits": current.update_hits,
        },
        "joined_into": chain.joined_into,
        "changes": [
            {
                "sub_topic": change.row.sub_topic,
                "op": change.row.op,
                "why": change.row.why,
                "before": change.row.before,
                "after": change.row.after,
                "joined": change.row.joined,
                "occurred_at": change.row.occurred_at,
                "recorded_at": change.row.recorded_at,
                "revision": change.row.revision,
                "extractor": change.row.extractor,
                "window_ids": change.row.window_ids,
                "messages": [_message_document(link) for link in change.messages],
            }
            for change in chain.changes
        ],
        "older_changes": chain.older,
    }


def event_document(chain: EventChain) -> dict[str, Any]:
    """An event's chain for a script."""
    event = chain.event
    return {
        "project_id": chain.project_id,
        "user_id": chain.user_id,
        "event_id": event.event_id,
        "summary": event.summary,
        "occurred_at": event.occurred_at,
        "recorded_at": event.recorded_at,
        "revision": event.revision,
        "extractor": event.extractor,
        "window_ids": event.window_ids,
        "gists": [
            {"text": line, "messages": [_message_document(link) for link in messages]} for line, messages in chain.lines
        ],
        "other_messages": [_message_document(link) for link in chain.others],
    }


def _change_view(chain: SlotChain, change: ChangeLink) -> Text:
    row = change.row
    said_again = row.before is not None and row.before == row.after
    sign, colour = SIGNS["r" if said_again else row.op]
    text = Text.assemble((f"{sign} ", colour))
    if row.sub_topic != chain.sub_topic:
        text.append(f"{_slot(row.topic, row.sub_topic)}: ", "cyan")
    if said_again:
        text.append("said again: ", "dim")
    elif row.before is not None:
        text.append(printable(row.before), "dim strike")
        text.append(" → ", "dim")
    text.append("nothing" if row.after is None else printable(row.after), "dim" if row.after is None else "bold")
    text.append(f"\n    said {short_time(row.occurred_at)}, recorded {short_time(row.recorded_at)}, ", "dim")
    text.append(f"revision {row.revision}, {printable(row.why)}", "dim")
    if row.joined:
        text.append(f"\n    joined from {printable(', '.join(row.joined))}", "dim")
    by = IMPORTED if row.why == IMPORTED else "by hand"
    text.append(_origin_of_change(row.extractor, row.window_ids, without_extractor=by))
    return text.append(_messages(change.messages))


def _origin_of_change(
    extractor: Mapping[str, str] | None, window_ids: Sequence[UUID], *, without_extractor: str
) -> Text:
    text = Text(style="dim")
    if extractor is None:
        text.append(f"\n    {without_extractor}")
    else:
        found = {name: printable(extractor.get(name, "?")) for name in ("name", "version", "model", "prompt_hash")}
        text.append(f"\n    by {found['name']} {found['version']}, model {found['model']}, ")
        text.append(f"prompts {found['prompt_hash'][:HASH_CHARACTERS]}")
    if window_ids:
        more = f" and {len(window_ids) - SHOWN_WINDOWS} more" if len(window_ids) > SHOWN_WINDOWS else ""
        text.append(f"\n    window {', '.join(str(window_id) for window_id in window_ids[:SHOWN_WINDOWS])}{more}")
    return text


def _messages(links: Iterable[MessageLink]) -> Text:
    text = Text()
    for link in links:
        text.append(f"\n    {printable(link.message_id)}", "cyan")
        text.append(_place_of(link), "dim")
        if link.message is not None:
            speaker = f"{link.message.alias}({link.message.role})" if link.message.alias else link.message.role
            text.append(f"\n      {short_time(link.message.occurred_at)} {printable(speaker)}: ", "dim")
            text.append(marked(link.message.content, link.quotes))
            continue
        for quote in link.quotes:
            text.append(f"\n      {MARK_BEGIN}{printable(quote)}{MARK_END}", "bold")
        if link.missing is not None and link.missing in _MISSING:
            position = link.unit.position if link.unit else None
            reason = _MISSING[link.missing].format(topic=position.topic if position else "its topic")
            text.append(f"\n      {printable(reason)}", "yellow")
    return text


def _place_of(link: MessageLink) -> str:
    if link.unit is None or link.unit.position is None:
        return ""
    origin = f", from {_position(link.unit.origin)}" if link.unit.origin is not None else ""
    return printable(f"  {_position(link.unit.position)}{origin}")


def _position(position: Position) -> str:
    return f"{position.topic} partition {position.partition} offset {position.offset}"


def _slot(topic: str, sub_topic: str) -> str:
    return printable(f"{topic}/{sub_topic}")


def _message_document(link: MessageLink) -> dict[str, Any]:
    unit, message = link.unit, link.message
    return {
        "id": link.message_id,
        "quotes": link.quotes,
        "text": None if message is None else message.content,
        "text_source": link.source,
        "text_missing": link.missing,
        "role": None if message is None else message.role,
        "alias": None if message is None else message.alias,
        "occurred_at": None if message is None else message.occurred_at,
        "state": None if unit is None else unit.state,
        "window_id": None if unit is None else unit.window_id,
        "position": _position_document(unit.position if unit else None),
        "origin": _position_document(unit.origin if unit else None),
    }


def _position_document(position: Position | None) -> dict[str, Any] | None:
    return None if position is None else position.model_dump()
