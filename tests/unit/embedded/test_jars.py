import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from embedded.jars import KAFKA_VERSION, Jar, check_jar, classpath, read_lock
from schemas.errors import ConfigurationError

_CONTENT = b"a jar"
_JAR = Jar("org.example", "thing", "1.2", hashlib.sha256(_CONTENT).hexdigest())


def _cached(cache_dir: Path, content: bytes) -> Path:
    folder = cache_dir / f"kafka-{KAFKA_VERSION}"
    folder.mkdir()
    path = folder / _JAR.file_name
    path.write_bytes(content)
    return path


def test_a_jar_with_the_locked_sum_is_used_without_a_download(tmp_path: Path) -> None:
    path = _cached(tmp_path, _CONTENT)
    said: list[str] = []

    assert classpath(cache_dir=tmp_path, jars=[_JAR], progress=said.append) == [path]
    assert said == []


def test_a_jar_with_another_sum_is_refused_by_name(tmp_path: Path) -> None:
    _cached(tmp_path, b"another jar")

    with pytest.raises(ConfigurationError, match=r"thing-1\.2\.jar is not the file"):
        classpath(cache_dir=tmp_path, jars=[_JAR], progress=lambda _: None)


def test_the_message_has_both_sums(tmp_path: Path) -> None:
    path = tmp_path / "x.jar"
    path.write_bytes(_CONTENT)

    with pytest.raises(ConfigurationError) as raised:
        check_jar(path, replace(_JAR, sha256="0" * 64))

    assert _JAR.sha256 in str(raised.value)
    assert "0" * 64 in str(raised.value)


def test_the_lock_file_names_the_broker_once_and_no_jar_twice() -> None:
    jars = read_lock()

    assert [jar.version for jar in jars if jar.artifact == "kafka_2.13"] == [KAFKA_VERSION]
    assert len({jar.file_name for jar in jars}) == len(jars)


def test_a_broken_line_of_the_lock_file_is_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("# a comment\nabc  org.example:thing:1.2\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match="not a sum and a coordinate"):
        read_lock(lock)


def test_a_download_that_fails_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"a jar"
    jar = Jar("org.example", "thing", "1.0", hashlib.sha256(content).hexdigest())
    failures = [requests.ConnectionError("the name is not resolved"), requests.Timeout("no answer")]
    waits: list[float] = []

    class Repository:
        def project(self, *_: str) -> "Repository":
            return self

        at_version = artifact = project

        def resolve(self) -> Path:
            if failures:
                raise failures.pop()
            (tmp_path / "downloaded").write_bytes(content)
            return tmp_path / "downloaded"

    monkeypatch.setattr("embedded.jars.maven_context", lambda _: Repository())
    monkeypatch.setattr("embedded.jars.time.sleep", waits.append)
    (path,) = classpath(cache_dir=tmp_path / "cache", jars=[jar], progress=lambda _: None)
    assert path.read_bytes() == content
    assert len(waits) == 2
