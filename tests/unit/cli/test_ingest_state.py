"""How far an input was sent: kept whole, and never taken for that of another input."""

from pathlib import Path

import pytest

from cli.ingest.files import find_files
from cli.ingest.state import SentState, fingerprint, read_state, write_state
from schemas.errors import ConfigurationError

STATE = SentState(input="abc", destination="cluster/chat-messages", acknowledged=5)
FRESH = STATE.model_copy(update={"acknowledged": 0})


def test_what_was_written_is_read_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "state"
    assert read_state(file, FRESH) == FRESH
    write_state(file, STATE)
    assert read_state(file, FRESH) == STATE
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"input": "other"}, "is of other files, options"), ({"destination": "other/t"}, "is of another Kafka cluster")],
)
def test_the_state_of_something_else_is_refused(tmp_path: Path, change: dict[str, str], problem: str) -> None:
    write_state(tmp_path / "state", STATE)
    with pytest.raises(ConfigurationError, match=f"{problem}.*remove .* to send all of it"):
        read_state(tmp_path / "state", FRESH.model_copy(update=change))


def test_a_file_that_is_no_state_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    file.write_text('{"user_id": "ann"}')
    with pytest.raises(ConfigurationError, match="is no state of an ingest"):
        read_state(file, FRESH)
    assert file.read_text() == '{"user_id": "ann"}'


def test_a_state_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: No such file"):
        write_state(tmp_path / "no" / "state", STATE)
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read_state(tmp_path, FRESH)


def test_a_fingerprint_follows_from_content_and_options_and_not_from_names(tmp_path: Path) -> None:
    def of(content: bytes, name: str = "a.jsonl", options: object = None) -> str:
        file = tmp_path / name
        file.write_bytes(content)
        return fingerprint(find_files([str(file)], None, None), options)

    long = b"x" * 200_000
    assert of(long) == of(long, "b.jsonl")
    assert len({of(long), of(long + b"x"), of(b"y" + long[1:]), of(long[:-1] + b"y"), of(long, options=["sort"])}) == 5


def test_a_pipe_has_no_state() -> None:
    with pytest.raises(ConfigurationError, match="--state goes with files, and stdin is a pipe"):
        fingerprint(find_files(["-"], "jsonl", None), None)
