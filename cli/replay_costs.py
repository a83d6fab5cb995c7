"""What a replay is expected to cost: its messages cut into windows, at the averages of what was extracted. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from schemas.errors import ConfigurationError
from schemas.windows import Unit, Window
from storage.usage import UsageFilter, UsageSum
from streams.windowing import Head, WindowPolicy, add, close_after, close_before, record_time_ms, unit_tokens

AVERAGED: Final = timedelta(days=30)
# Project, user and type of blob.
BufferKey = tuple[str, str, str]


@dataclass(slots=True)
class WindowCount:
    """Cuts messages into windows as the buffer agent does, and counts them. What is buffered now is not known here."""

    policy: WindowPolicy
    count_tokens: Callable[[str], int]
    messages: int = 0
    tokens: int = 0
    closed: int = 0
    users: set[tuple[str, str]] = field(default_factory=set)
    heads: dict[BufferKey, Head] = field(default_factory=dict)

    @property
    def windows(self) -> int:
        """With those that only time closes, or a flush."""
        return self.closed + len(self.heads)

    def add_window(self, window: Window) -> None:
        """Count a window as it is."""
        self.closed += 1
        self.tokens += window.token_count
        self.messages += len(window.units)
        self.users.add((window.project_id, window.user_id))

    def add(self, project_id: str, user_id: str, unit: Unit, size_bytes: int) -> None:
        """Count a blob, of which there are `size_bytes` in the buffer."""
        unit = unit.model_copy(update={"token_count": unit_tokens(unit, self.count_tokens)})
        self.messages += 1
        self.tokens += unit.token_count
        self.users.add((project_id, user_id))
        key = (project_id, user_id, unit.content["blob_type"])
        head = self.heads.pop(key, None)
        now_ms = record_time_ms(unit, head)
        if head is not None and close_before(head, now_ms, size_bytes, self.policy) is not None:
            self.closed += 1
            head = None
        if unit.token_count > self.policy.process_tokens:
            # What is cut fills its windows, and what came before it goes along.
            self.closed += -(-unit.token_count // self.policy.process_tokens)
            return
        head = add(head, unit, now_ms, size_bytes)
        if close_after(head, self.policy) is not None:
            self.closed += 1
        else:
            self.heads[key] = head


@dataclass(frozen=True, slots=True)
class Expected:
    """Calls, tokens and cost; `cost` is None where nobody knows. `by` is how many extractions the averages are of."""

    completions: int
    embedding_calls: int
    tokens: int
    cost: Decimal | None
    by: int


def averaged(project_id: str | None, now: datetime) -> UsageFilter:
    """What the averages are of: live extractions of the last days, all or a project's."""
    return UsageFilter(now - AVERAGED, None, project_id, spent_for="live")


def expected(windows: int, spent: UsageSum) -> Expected:
    """What so many windows will take, at the averages of what was spent; nothing is known before the first one."""
    if not windows:
        return Expected(0, 0, 0, Decimal(0), spent.extractions)
    if not spent.extractions:
        return Expected(0, 0, 0, None, 0)
    usage, share = spent.usage, Decimal(windows) / spent.extractions
    tokens = usage.prompt_tokens + usage.completion_tokens + usage.embedding_tokens
    return Expected(
        completions=round(usage.completions * share),
        embedding_calls=round(usage.embedding_calls * share),
        tokens=round(tokens * share),
        cost=None if spent.unpriced_tokens else spent.cost * share,
        by=spent.extractions,
    )


def check_cost(cost: Expected, max_cost: Decimal | None, currency: str) -> None:
    """Raises ConfigurationError where it will cost more than that, or nobody knows."""
    if max_cost is None:
        return
    if cost.cost is None:
        why = "its model has no price in prices.models" if cost.by else "nothing was extracted in the last 30 days"
        raise ConfigurationError(f"--max-cost: nobody knows what this will cost, for {why}")
    if cost.cost > max_cost:
        raise ConfigurationError(
            f"--max-cost: this will cost about {cost.cost:.2f} {currency}, more than {max_cost:.2f}; "
            "replay a shorter range, or allow more"
        )


def check_spent(spent: Decimal, max_cost: Decimal, currency: str) -> None:
    """Raises ConfigurationError for a limit that a shadow has reached already, at which its workers only wait."""
    if spent >= max_cost:
        raise ConfigurationError(
            f"--max-cost: the shadow has cost {spent:.2f} {currency} already, and would stop at {max_cost:.2f}: allow "
            "more, or stop its workers to spend no more"
        )
