"""How far an input was sent, in a small file, so that another run goes on behind it."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from cli.ingest.files import InputFile, open_file
from schemas.errors import ConfigurationError

STATE_VERSION: Final = 1
# Of the beginning and of the end of a file; its size is compared, too.
COMPARED_BYTES: Final = 64 * 1024


class SentState(BaseModel):
    """`acknowledged` of the first records of the input are on the topic. No text, no user."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    v: Literal[1] = STATE_VERSION
    input: str
    destination: str
    acknowledged: int = 0


def fingerprint(files: Sequence[InputFile], options: Any) -> str:
    """What the records and their order follow from; raises ConfigurationError for a pipe, which cannot be read again.

    The files' names are not in it.
    """
    digest = hashlib.sha256(orjson.dumps(options, option=orjson.OPT_SORT_KEYS, default=str))
    for file in files:
        if file.size_bytes is None:
            raise ConfigurationError(f"--state goes with files, and {file.label} is a pipe; leave --state out")
        with open_file(file) as raw:
            digest.update(b"%d " % file.size_bytes)
            digest.update(raw.read(COMPARED_BYTES))
            raw.seek(max(0, file.size_bytes - COMPARED_BYTES))
            digest.update(raw.read(COMPARED_BYTES))
    return digest.hexdigest()


def read_state(path: Path, expected: SentState) -> SentState:
    """What the file holds, or `expected` if there is none; raises ConfigurationError if it is of something else."""
    try:
        found = SentState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return expected
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{path} is no state of an ingest; name another file with --state") from error
    fix = f"remove {path} to send all of it, which changes nothing that is sent already"
    if found.input != expected.input:
        raise ConfigurationError(f"{path} is of other files, options or another version of memostream; {fix}")
    if found.destination != expected.destination:
        raise ConfigurationError(f"{path} is of another Kafka cluster or topic; {fix}")
    return found


def write_state(path: Path, state: SentState) -> None:
    """All or nothing, also if the machine stops meanwhile; raises ConfigurationError if it cannot be written."""
    beside = path.with_name(f"{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(state.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
