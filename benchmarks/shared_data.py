"""Conversations that the project does not carry: a folder beside the clone, if there is one."""

from pathlib import Path
from typing import Final

NEIGHBOUR: Final = Path(__file__).resolve().parents[2] / "shared"


def shared_file(name: str) -> Path | None:
    """A file of the folder `shared` beside the clone, as "data/dialogs.jsonl"; None if it is not there."""
    path = NEIGHBOUR / name
    return path if path.is_file() else None
