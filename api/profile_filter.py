"""Which entries of a profile are shown, and in what order: Memobase's rules, within the budget of tokens."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from api.lines import profile_line
from schemas.tokens import TokenCounter
from storage.recall import Entry


@dataclass(frozen=True, slots=True)
class ProfileFilter:
    """What a caller wants to see of a profile. Topics are compared exactly.

    `topic_limits` is entries by topic, `max_sub_topics` for topics that it does not name. `top_k` and `max_tokens`
    take 0 as no limit, as Memobase does.
    """

    prefer_topics: Sequence[str] = ()
    only_topics: Sequence[str] = ()
    max_sub_topics: int | None = None
    topic_limits: Mapping[str, int] = field(default_factory=dict)
    top_k: int | None = None
    max_tokens: int | None = None


def choose(entries: Iterable[Entry], wanted: ProfileFilter, count: TokenCounter) -> list[Entry]:
    """The entries to show; all of them together are never longer than `max_tokens`."""
    chosen = arrange(entries, wanted)
    if not wanted.max_tokens:
        return chosen
    sizes = (count(profile_line(entry.topic, entry.sub_topic, entry.content)) for entry in chosen)
    taken, _ = within(sizes, wanted.max_tokens)
    return [chosen[index] for index in taken]


def arrange(entries: Iterable[Entry], wanted: ProfileFilter) -> list[Entry]:
    """All of `choose` but the tokens: the latest first, preferred topics before others, topics and their limits."""
    # Entries of one transaction have one time, and their order must be the same on every read.
    found = sorted(entries, key=attrgetter("topic", "sub_topic"))
    found.sort(key=attrgetter("updated_at"), reverse=True)
    if wanted.prefer_topics:
        ranks = {topic.strip(): rank for rank, topic in enumerate(wanted.prefer_topics)}
        found.sort(key=lambda entry: ranks.get(entry.topic, len(ranks)))
    if wanted.only_topics:
        only = {topic.strip() for topic in wanted.only_topics}
        found = [entry for entry in found if entry.topic in only]
    if wanted.max_sub_topics or wanted.topic_limits:
        found = _limited(found, wanted.topic_limits, wanted.max_sub_topics or None)
    return found[: wanted.top_k] if wanted.top_k else found


def within(sizes: Iterable[int], budget: int, *, pass_over_first: bool = True) -> tuple[list[int], int]:
    """Which pieces are taken in their order, up to the first that overflows, and what they come to.

    Before anything is taken, a piece that is larger than the whole budget is passed over, if so wanted: it would
    hide all that follow.
    """
    taken: list[int] = []
    used = 0
    for index, size in enumerate(sizes):
        if used + size <= budget:
            used += size
            taken.append(index)
        elif taken or not pass_over_first:
            break
    return taken, used


def _limited(entries: Iterable[Entry], limits: Mapping[str, int], others: int | None) -> list[Entry]:
    seen: Counter[str] = Counter()
    kept = []
    for entry in entries:
        limit = limits.get(entry.topic, others)
        if limit is None or limit < 0 or seen[entry.topic] < limit:
            kept.append(entry)
        seen[entry.topic] += 1
    return kept
