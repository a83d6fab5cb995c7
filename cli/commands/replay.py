"""`memostream replay`: a range of a topic once more, into memory."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.commands import shadow as shadow_commands
from cli.commands.options import (
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    ExecuteOption,
    JsonOption,
    Place,
    ProjectFilter,
    UserFilter,
    VerboseOption,
)


class Into(StrEnum):
    """Where a replay goes."""

    LIVE = "live"
    SHADOW = "shadow"


PLAN_EPILOG = """
**Examples**

- `memostream replay plan --to-earliest` — what of all that Kafka holds never came to memory
- `memostream replay plan --topic chat-messages:0,1 --to-offset 1000 --until-offset 2000 --json`
"""
RUN_EPILOG = """
**Examples**

- `memostream replay run --by-duration P2D --execute` — after an outage
- `memostream replay run --to-datetime 2026-11-20T00:00:00.000 --until-datetime 2026-11-21T00:00:00.000 --user ann`
- `memostream replay run --topic extraction-windows --to-earliest --max-cost 20 --rate 50 --execute`
- `memostream replay run --into shadow --shadow b --to-earliest --config b.yaml --execute` — make it, and work for it
- `memostream replay run --into shadow --shadow b --config b.yaml --execute` — one more worker, or again after a stop
"""


TopicOption = Annotated[
    str, typer.Option(metavar="NAME[:0,1]", help="chat-messages or extraction-windows, perhaps some partitions.")
]
EarliestOption = Annotated[bool, typer.Option("--to-earliest", help="Begin at the first record there is.")]
DatetimeOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Begin at this time: YYYY-MM-DDTHH:mm:SS.sss, in UTC.")
]
DurationOption = Annotated[str | None, typer.Option(metavar="PnDTnHnMnS", help="Begin so long ago: P1D, PT1H30M.")]
OffsetOption = Annotated[int | None, typer.Option(min=0, metavar="N", help="Begin at this offset.")]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="End before this time.")]
UntilOffsetOption = Annotated[int | None, typer.Option(min=0, metavar="N", help="End before this offset.")]
CostOption = Annotated[
    float | None,
    typer.Option(min=0.0, metavar="MONEY", help="Refuse what is expected to cost more; a shadow stops at it, too."),
]
IntoOption = Annotated[Into, typer.Option("--into", help="Live memory, or one that is made beside it.")]
ShadowOption = Annotated[
    str | None, typer.Option("--shadow", metavar="NAME", help="With --into shadow: its name.", show_default=False)
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True, rich_markup_mode="markdown", help="Apply what Kafka holds and memory never had."
    )
    group.command(epilog=PLAN_EPILOG)(plan)
    group.command(epilog=RUN_EPILOG)(run)
    shadow_commands.register(group)
    app.add_typer(group, name="replay")


def plan(
    topic: TopicOption = "chat-messages",
    to_earliest: EarliestOption = False,
    to_datetime: DatetimeOption = None,
    by_duration: DurationOption = None,
    to_offset: OffsetOption = None,
    until_datetime: UntilOption = None,
    until_offset: UntilOffsetOption = None,
    user: UserFilter = None,
    project: ProjectFilter = None,
    max_cost: CostOption = None,
    into: IntoOption = Into.LIVE,
    shadow: ShadowOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Say what a replay would apply: messages, users, windows, calls, tokens and cost. Sends nothing.

    Every record of the range is looked up, as `audit` does. Times and offsets say where to begin, as in
    kafka-consumer-groups --reset-offsets.
    """
    run(
        topic=topic,
        to_earliest=to_earliest,
        to_datetime=to_datetime,
        by_duration=by_duration,
        to_offset=to_offset,
        until_datetime=until_datetime,
        until_offset=until_offset,
        user=user,
        project=project,
        max_cost=max_cost,
        into=into,
        shadow=shadow,
        config=config,
        data_dir=data_dir,
        verbose=verbose,
        json=json,
    )


def run(
    topic: TopicOption = "chat-messages",
    to_earliest: EarliestOption = False,
    to_datetime: DatetimeOption = None,
    by_duration: DurationOption = None,
    to_offset: OffsetOption = None,
    until_datetime: UntilOption = None,
    until_offset: UntilOffsetOption = None,
    user: UserFilter = None,
    project: ProjectFilter = None,
    max_cost: CostOption = None,
    rate: Annotated[
        float | None, typer.Option(min=0.1, metavar="N", help="At most so many records a second. [default: no limit]")
    ] = None,
    execute: ExecuteOption = False,
    into: IntoOption = Into.LIVE,
    shadow: ShadowOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Apply what of a range was never applied, or make a memory beside the live one from all of it.

    Into live memory, what no stage knows is sent to its topic again with its first position, so ids, times and windows
    are those of then, and what comes twice is applied once: after an outage, a restored database, or on a topic that
    was skipped. It keeps a short way ahead of the workers, so that live messages hardly wait. Stopped half-way, it is
    run again, and goes on.

    Into a shadow, the range is extracted anew with the configuration at hand, and comes to a memory of its own, until
    `replay promote` puts it in place of the live one. This process works for the shadow until Ctrl-C or SIGTERM; any
    number may, and whatever is killed, they go on where it was. A shadow without an end follows live memory.
    """
    import asyncio
    from datetime import UTC, datetime
    from decimal import Decimal

    from cli.addresses import settings_of
    from cli.identifiers import check_ids
    from cli.replay_range import ReplayRange, beginning, ending, topic_of
    from streams.topics import Topics

    check_ids(user, project)
    settings = settings_of(Place(config, data_dir, verbose))
    allowed = None if max_cost is None else Decimal(str(max_cost))
    topics = Topics(settings.kafka.topic_prefix)

    def wanted() -> ReplayRange:
        known = {"chat-messages": topics.chat_messages, "extraction-windows": topics.extraction_windows}
        name, partitions = topic_of(topic, known)
        begin = beginning(to_earliest, to_datetime, by_duration, to_offset, datetime.now(UTC))
        return ReplayRange(name, partitions, begin, ending(until_datetime, until_offset), project, user)

    if into is Into.SHADOW:
        from cli.replay_shadow_running import into_shadow

        says_range = to_earliest or any(
            part is not None
            for part in (to_datetime, by_duration, to_offset, until_datetime, until_offset, user, project)
        )
        into_shadow(
            settings, shadow, wanted if says_range else None, allowed, rate_per_s=rate, execute=execute, as_json=json
        )
        return
    refuse_shadow(shadow)
    from cli.replay import make_plan, run
    from cli.replay_costs import check_cost
    from cli.replay_view import print_done

    plan = asyncio.run(make_plan(settings, wanted(), quiet=json))
    currency = settings.prices.currency
    check_cost(plan.expected, allowed, currency)
    sent = asyncio.run(run(settings, plan, rate_per_s=rate, quiet=json)) if execute else None
    print_done(plan, sent, currency, as_json=json)


def refuse_shadow(shadow: str | None) -> None:
    """Raises ConfigurationError for a shadow that is named for a replay into live memory."""
    from schemas.errors import ConfigurationError

    if shadow is not None:
        raise ConfigurationError("--shadow needs --into shadow: live memory has no name")
