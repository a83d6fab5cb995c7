"""The table of a run: every kind of fault, how often it was done, and what was seen."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median

from tests.chaos.checker import Verdict
from tests.chaos.conductor import Observed, PartResult
from tests.chaos.schedule import CATEGORY_OF, KINDS

MAX_DETAILS = 2


def table(results: Sequence[PartResult]) -> str:
    """Markdown, so that it may stand in the docs as it is."""
    by_kind: defaultdict[str, list[Observed]] = defaultdict(list)
    for result in results:
        for observed in result.observed:
            by_kind[observed.kind].append(observed)
    lines = [
        "| fault | of | done | through after, median | at most | seen |",
        "|---|---|---|---|---|---|",
        *(_row(kind, by_kind[kind]) for kind in KINDS if kind in by_kind),
    ]
    return "\n".join([*lines, "", *_summary(results)])


def _row(kind: str, observed: Sequence[Observed]) -> str:
    done = [one for one in observed if one.reached]
    seconds = [one.recovery_s for one in done]
    middle, most = (f"{median(seconds):.1f} s", f"{max(seconds):.1f} s") if seconds else ("-", "-")
    details = list(dict.fromkeys(one.detail for one in observed if one.detail))
    seen = "; ".join(details[:MAX_DETAILS]) + ("; …" if len(details) > MAX_DETAILS else "")
    return f"| {kind} | {CATEGORY_OF[kind]} | {len(done)} | {middle} | {most} | {seen} |"


def _summary(results: Sequence[PartResult]) -> Iterator[str]:
    for result in results:
        faults = sum(one.reached for one in result.observed)
        yield (
            f"{result.part.name}: {result.records:,} records, {faults} faults, {result.part.brokers} brokers, "
            f"{result.part.workers} workers, {result.seconds:.0f} s; "
            f"{result.ends.killed} workers killed, {result.ends.stopped} stopped; {result.retried:,} sends repeated"
        )
        for cause, count in result.ends.unexpected.most_common():
            yield f"  a worker ended by itself, {count} times: {cause}"
        if result.failure is not None:
            yield f"  did not come to its end: {result.failure}"
        if result.verdict is not None:
            yield ""
            yield from _verdict(result.verdict)


def _verdict(verdict: Verdict) -> Iterator[str]:
    yield "| records | | first of them |"
    yield "|---|---|---|"
    for name, count, sample in verdict.rows():
        yield f"| {name.replace('_', ' ')} | {count:,} | {sample} |"
