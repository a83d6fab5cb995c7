"""Chinese first-person statements: which clauses speak of the user, and which slot they belong to."""

import re
from collections.abc import Iterator
from typing import Final

from extraction.offline.statements import Statement, sentences, shorten


def statements(text: str) -> Iterator[Statement]:
    """The statements about the speaker in one message, in order."""
    yield from ()
