"""Whose fault a failed extraction is, how long to wait, and how units are cut and results joined: pure."""

import math
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from schemas.conversation import Message, messages_of
from schemas.memory import Extraction, Usage
from schemas.tokens import estimate_tokens
from schemas.windows import MessageId, Unit, UnitKey
from storage.units import covers
from streams.windowing import split

CONTENT_REJECTED: Final = "content-rejected"
TOO_LONG: Final = "too-long"
CUT_DIFFERENTLY: Final = "cut-differently"

UserKey = tuple[str, str]


# A model for which this much is too long has no room for our prompts, unless it is something about the text.
SHORT_TEXT_CHARACTERS: Final = 64
# While the endpoint is blamed, one user in this long may show that it is not to blame.
CONTROL_INTERVAL_S: Final = 300.0
# For how long a user's content counts as at fault once the endpoint took a control call: about one attempt.
CONTROLLED_S: Final = 60.0

Blame = Literal["content", "endpoint", "doubt"]


@dataclass(frozen=True, slots=True)
class EndpointJudge:
    """Says who is to blame for content that an endpoint does not take: the content, or the endpoint after all.

    It is the endpoint when so many different users in a row were rejected; users are counted, not calls, for bisecting
    one window makes many calls of one user. In doubt a control call decides, with content that every endpoint takes.
    Where it passes, the one user who asked may be bisected and parked; but the endpoint stays blamed, so that one
    which takes nothing but the control call parks next to nothing, and one that met only poison is not stuck.
    """

    failing_users_limit: int
    failing_users: frozenset[UserKey] = frozenset()
    controlled_at_s: float | None = None
    passed_for: UserKey | None = None

    def after_rejection(self, user: UserKey) -> "EndpointJudge":
        """Users are counted up to the limit; in an outage all of them would be kept."""
        return self if self.blames_endpoint else replace(self, failing_users=self.failing_users | {user})

    def after_success(self) -> "EndpointJudge":
        """The endpoint took somebody's content."""
        return replace(self, failing_users=frozenset())

    def before_control(self, now_s: float) -> "EndpointJudge":
        return replace(self, controlled_at_s=now_s, passed_for=None)

    def after_control(self, user: UserKey, now_s: float) -> "EndpointJudge":
        """The control call was taken."""
        return replace(self, controlled_at_s=now_s, passed_for=user)

    def blame(self, user: UserKey, is_unexplained: bool, now_s: float) -> Blame:
        """For a rejection that is counted already; `is_unexplained` where the endpoint did not say what is wrong."""
        since_s = math.inf if self.controlled_at_s is None else now_s - self.controlled_at_s
        if user == self.passed_for and since_s < CONTROLLED_S:
            return "content"
        if self.blames_endpoint:
            return "doubt" if since_s >= CONTROL_INTERVAL_S else "endpoint"
        return "doubt" if is_unexplained else "content"

    @property
    def blames_endpoint(self) -> bool:
        return len(self.failing_users) >= self.failing_users_limit


@dataclass(frozen=True, slots=True)
class Parked:
    """A unit that cannot be applied; `reason` is a code, `detail` quotes nothing of the content."""

    unit: Unit
    reason: str
    detail: str
    stage: str = "extract"
    exception: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What units came to: `applied` are those that `extraction` was taken from."""

    extraction: Extraction = field(default_factory=Extraction)
    applied: tuple[Unit, ...] = ()
    parked: tuple[Parked, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            join_extractions([self.extraction, other.extraction]),
            self.applied + other.applied,
            self.parked + other.parked,
        )


def backoff_s(failures: int, minimum_s: float, maximum_s: float, asked_s: float, jitter: float) -> float:
    """Exponential from `minimum_s` at the first failure to `maximum_s`, never below `asked_s`.

    `jitter` (0 to 1) takes up to half of it away; `asked_s` is what the endpoint itself named.
    """
    # The exponent is bounded so that a night of failures does not overflow.
    delay_s = min(maximum_s, minimum_s * 2.0 ** min(failures - 1, 32))
    return max(asked_s, delay_s * (1.0 - jitter / 2.0))


def halve(units: Sequence[Unit]) -> tuple[Sequence[Unit], Sequence[Unit]] | None:
    """Two halves of the units, a single blob being cut between its messages; None if there is one message."""
    pieces = list(units)
    if len(pieces) == 1:
        pieces = split_messages(pieces[0])
    if len(pieces) < 2:
        return None
    middle = len(pieces) // 2
    return pieces[:middle], pieces[middle:]


def halve_text(message: Message) -> tuple[Message, Message]:
    """The message with each half of its text, cut behind a space if there is one near."""
    middle = len(message.content) // 2
    space = message.content.rfind(" ", middle // 2, middle)
    cut = middle if space < 0 else space + 1
    return (
        message._replace(content=message.content[:cut]),
        message._replace(content=message.content[cut:]),
    )


def is_short(messages: Sequence[Message]) -> bool:
    """Whether no model could find this too long for what it says."""
    return len(messages) == 1 and all(
        len(text or "") <= SHORT_TEXT_CHARACTERS
        for message in messages
        for text in (message.content, message.alias, message.said_at)
    )


def shorten(message: Message) -> Message:
    """The message with what stands before its text cut: a name or a time may be of any length."""
    alias, said_at = message.alias, message.said_at
    return message._replace(
        alias=alias and alias[:SHORT_TEXT_CHARACTERS],
        said_at=said_at and said_at[:SHORT_TEXT_CHARACTERS],
    )


def split_messages(unit: Unit) -> list[Unit]:
    """A unit for each message of a whole blob; the unit itself if it is no whole blob or has one message."""
    if unit.message_index is not None or len(messages_of(unit)) < 2:
        return [unit]
    return list(split(unit, sys.maxsize, estimate_tokens))


def rejoin(units: Iterable[Unit], findings: Findings) -> Findings:
    """Findings that name each of `units` whole, unless a piece of it was parked."""
    applied: dict[str, list[Unit]] = {}
    for piece in findings.applied:
        applied.setdefault(piece.blob_id, []).append(piece)
    parked_keys: dict[str, list[UnitKey]] = {}
    for parked in findings.parked:
        parked_keys.setdefault(parked.unit.blob_id, []).append(parked.unit.key)
    joined: list[Unit] = []
    for unit in units:
        pieces = [piece for piece in applied.get(unit.blob_id, ()) if covers(unit.key, piece.key)]
        is_cut = any(covers(unit.key, key) for key in parked_keys.get(unit.blob_id, ()))
        joined.extend(pieces if is_cut or not pieces else [unit])
    return replace(findings, applied=tuple(joined))


def units_behind(units: Iterable[Unit], message_ids: Collection[MessageId]) -> tuple[list[Unit], list[Unit]]:
    """The units, cut to messages where needed: those that hold one of the messages, and the others."""
    behind: list[Unit] = []
    others: list[Unit] = []
    for unit in units:
        if not _holds(unit, message_ids):
            others.append(unit)
            continue
        for piece in split_messages(unit):
            (behind if _holds(piece, message_ids) else others).append(piece)
    return behind, others


def join_extractions(extractions: Sequence[Extraction]) -> Extraction:
    """One extraction of several, in order; a summary that was joined of two must be embedded anew."""
    summaries = [extraction for extraction in extractions if extraction.summary]
    times = [extraction.occurred_at for extraction in extractions if extraction.occurred_at is not None]
    return Extraction(
        facts=tuple(fact for extraction in extractions for fact in extraction.facts),
        gists=tuple(gist for extraction in extractions for gist in extraction.gists),
        summary="\n".join(extraction.summary or "" for extraction in summaries) or None,
        tags=tuple(dict.fromkeys(tag for extraction in extractions for tag in extraction.tags)),
        occurred_at=max(times, default=None),
        summary_embedding=summaries[0].summary_embedding if len(summaries) == 1 else None,
        usage=sum((extraction.usage for extraction in extractions), Usage()),
    )


def _holds(unit: Unit, message_ids: Collection[MessageId]) -> bool:
    return any(message.message_id in message_ids for message in messages_of(unit))
