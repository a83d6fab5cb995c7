"""`memostream dead-letters`: what was parked, and what is to become of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

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

if TYPE_CHECKING:
    from cli.dead_letter_rules import Wanted

LIST_EPILOG = """
**Examples**

- `memostream dead-letters list` — what is open
- `memostream dead-letters list --reason too-large --by-duration P1D`
- `memostream dead-letters list --user ann --all --json | jq .reason`
"""
SHOW_EPILOG = """
**Examples**

- `memostream dead-letters show 0/17` — its headers, and what it says
"""
REDRIVE_EPILOG = """
**Examples**

- `memostream dead-letters redrive --reason unsupported-content` — only say what would be sent
- `memostream dead-letters redrive --reason unsupported-content --execute`
- `memostream dead-letters redrive 0/17 2/4 --execute`
"""
DROP_EPILOG = """
**Examples**

- `memostream dead-letters drop 0/17 --execute`
- `memostream dead-letters drop --user test-user --execute`
"""

PlacesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[PARTITION/OFFSET]...", help="Only these letters, as `list` names them.")
]
ReasonOption = Annotated[
    list[str] | None, typer.Option(metavar="WORD", help="Only this reason; may be given several times.")
]
TopicOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only records that were refused on this topic; may be repeated."),
]
FromOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Parked from this time on: YYYY-MM-DDTHH:mm:SS.sss, in UTC.")
]
ToOption = Annotated[str | None, typer.Option(metavar="TIME", help="Parked before this time, in the same form.")]
DurationOption = Annotated[
    str | None, typer.Option(metavar="PnDTnHnMnS", help="Parked since so long ago: P1D, PT1H30M.")
]


def register(app: typer.Typer) -> None:
    letters = typer.Typer(
        no_args_is_help=True, rich_markup_mode="markdown", help="What was parked, and what is to become of it."
    )
    letters.command("list", epilog=LIST_EPILOG)(list_letters)
    letters.command(epilog=SHOW_EPILOG)(show)
    letters.command(epilog=REDRIVE_EPILOG)(redrive)
    letters.command(epilog=DROP_EPILOG)(drop)
    app.add_typer(letters, name="dead-letters")


def list_letters(
    reason: ReasonOption = None,
    topic: TopicOption = None,
    user: UserFilter = None,
    project: ProjectFilter = None,
    from_datetime: FromOption = None,
    to_datetime: ToOption = None,
    by_duration: DurationOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are done: applied, erased or dropped, of a forgotten user.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """List what is parked, in the order in which it was sent: a line for each record, with its newest letter.

    Its place names it for the other commands. A record that was sent again and failed again says how often it failed.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.console import print_json
    from cli.dead_letters import find_letters
    from cli.dead_letters_view import letter_document, print_letters

    wanted = _wanted((), reason, topic, user, project, from_datetime, to_datetime, by_duration)
    settings = settings_of(Place(config, data_dir, verbose))
    found = asyncio.run(find_letters(settings, wanted, with_done=everything))
    if not json:
        print_letters(found)
        return
    for letter in found.letters:
        print_json(letter_document(letter))


def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="Where it lies, as `list` says.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show one letter: why and where it was refused, its headers, and what it says."""
    import asyncio

    from cli.addresses import settings_of
    from cli.dead_letters import find_letters
    from cli.dead_letters_view import print_letter

    wanted = _wanted([place])
    settings = settings_of(Place(config, data_dir, verbose))
    (letter,) = asyncio.run(find_letters(settings, wanted, with_done=True)).letters
    print_letter(letter, as_json=json)


def redrive(
    places: PlacesArgument = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    user: UserFilter = None,
    project: ProjectFilter = None,
    from_datetime: FromOption = None,
    to_datetime: ToOption = None,
    by_duration: DurationOption = None,
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Send what is open again, when its cause is mended; each user's in the order in which it was sent first.

    Ids and times stay those of the first sending, so what was applied meanwhile is skipped, and facts are dated when
    they were said. Later messages of the user do not wait: where they said otherwise, the newer statement stays. What
    fails again is parked again, and `list` says how often.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.dead_letters import find_letters
    from cli.dead_letters import redrive as send
    from cli.dead_letters_view import print_outcome

    wanted = _wanted(places or (), reason, topic, user, project, from_datetime, to_datetime, by_duration)
    settings = settings_of(Place(config, data_dir, verbose))
    found = asyncio.run(find_letters(settings, wanted))
    outcome = asyncio.run(send(settings, found.letters, execute=execute))
    print_outcome(outcome, done="sent again:", would="would be sent again:", executed=execute, as_json=json)


def drop(
    places: PlacesArgument = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    user: UserFilter = None,
    project: ProjectFilter = None,
    from_datetime: FromOption = None,
    to_datetime: ToOption = None,
    by_duration: DurationOption = None,
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Leave out for good what is open: it counts as erased, and is not applied, should it come again.

    The letters stay in the topic until its retention ends. At least one place or one filter must be named.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.dead_letters import drop as leave_out
    from cli.dead_letters import find_letters
    from cli.dead_letters_view import print_outcome

    if not any((places, reason, topic, user, project, from_datetime, to_datetime, by_duration)):
        raise typer.BadParameter("name the letters, or a filter: nobody drops everything by mistake")
    wanted = _wanted(places or (), reason, topic, user, project, from_datetime, to_datetime, by_duration)
    settings = settings_of(Place(config, data_dir, verbose))
    found = asyncio.run(find_letters(settings, wanted))
    outcome = asyncio.run(leave_out(settings, found.letters, execute=execute))
    print_outcome(outcome, done="dropped:", would="would be dropped:", executed=execute, as_json=json)


def _wanted(
    places: Sequence[str],
    reasons: Sequence[str] | None = None,
    topics: Sequence[str] | None = None,
    user: str | None = None,
    project: str | None = None,
    from_datetime: str | None = None,
    to_datetime: str | None = None,
    by_duration: str | None = None,
) -> "Wanted":
    from datetime import UTC, datetime

    from cli.audit_range import time_range
    from cli.dead_letter_rules import Wanted, places_of
    from cli.identifiers import check_ids
    from storage.text import epoch_ms

    check_ids(user, project)
    times = time_range(from_datetime, to_datetime, by_duration, datetime.now(UTC))
    return Wanted(
        places=places_of(places),
        reasons=frozenset(reasons or ()),
        topics=frozenset(topics or ()),
        project_id=project,
        user_id=user,
        begin_ms=None if times.begin is None else epoch_ms(times.begin),
        end_ms=None if times.end is None else epoch_ms(times.end),
    )
