"""What the checks of an audit have found: a name, a count and the first few places; never a text."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from schemas.errors import ConfigurationError

CheckName = Literal[
    "records",
    "once",
    "order",
    "dead-letters",
    "ledger",
    "profiles",
    "changes",
    "change-order",
    "orphans",
    "outbox",
]

CHECKS: Final[tuple[CheckName, ...]] = get_args(CheckName)
CHECK_MEANINGS: Final[Mapping[CheckName, str]] = {
    "records": "every record has an outcome",
    "once": "no unit is applied twice",
    "order": "a user's units are applied in the order of their records",
    "dead-letters": "what is parked has its dead letter",
    "ledger": "every window and command that is done has its row, and the counts agree",
    "profiles": "the topic's latest state is the one in Postgres",
    "changes": "every change is published once or in the outbox, and none is unknown",
    "change-order": "a user's changes and states are on their topics in order",
    "orphans": "no row is without what it belongs to",
    "outbox": "nothing waits for long to be published",
}
SAMPLES: Final = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing that is wrong. `place` is a partition and offset or an id; `detail` says what, in words of ours."""

    detail: str
    project_id: str | None = None
    user_id: str | None = None
    place: str | None = None


@dataclass(slots=True)
class Check:
    """One check as it goes on: how much was looked at, how much is wrong, and the first few of these.

    `unsettled` counts what could not be told: it kept changing while it was looked at, or what it is compared with is
    not kept any more.
    """

    name: CheckName
    looked_at: int = 0
    wrong: int = 0
    unsettled: int = 0
    samples: list[Sample] = field(default_factory=list)

    def add(self, found: Iterable[Sample], times: int = 1) -> None:
        """Count things that are wrong; `times` is how many each sample stands for."""
        for sample in found:
            self.wrong += times
            if len(self.samples) < SAMPLES:
                self.samples.append(sample)

    def __add__(self, other: "Check") -> "Check":
        samples = [*self.samples, *other.samples][:SAMPLES]
        return Check(
            self.name,
            self.looked_at + other.looked_at,
            self.wrong + other.wrong,
            self.unsettled + other.unsettled,
            samples,
        )


def chosen_checks(wanted: Collection[str]) -> frozenset[CheckName]:
    """The checks of these names, all without any; raises ConfigurationError for another name."""
    unknown = sorted(set(wanted) - set(CHECKS))
    if unknown:
        raise ConfigurationError(f"--check: there is no {unknown[0]}; they are {', '.join(CHECKS)}")
    return frozenset(name for name in CHECKS if not wanted or name in wanted)
