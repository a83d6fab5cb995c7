"""Bars on stderr while work goes on, for a person only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn

from cli.console import err


def shown(*columns: ProgressColumn, quiet: bool) -> Progress:
    """A display of these columns behind a spinner, gone at the end; nothing where `quiet`, or where no terminal is."""
    console = err()
    return Progress(
        SpinnerColumn(), *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    )


@contextmanager
def counting(what: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar of so many; call what it yields with how many more are done."""
    with shown(TextColumn(what), BarColumn(), MofNCompleteColumn(), quiet=quiet) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
