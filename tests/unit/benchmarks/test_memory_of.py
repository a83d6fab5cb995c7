"""The benchmark of quality remembers what the demo remembers, and scores it per half."""

import asyncio
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks import quality
from benchmarks.memory_of import remember
from schemas.settings import Settings

SCORER = """
import argparse, json
parser = argparse.ArgumentParser()
for name in ("dialogs", "personas", "facts"):
    parser.add_argument(name)
parser.add_argument("--half", type=int)
options = parser.parse_args()
facts = [json.loads(line) for line in open(options.facts)]
count = sum(len(user["facts"]) for user in facts)
print(json.dumps({"users": len(facts), "facts_per_user": count, "recall": options.half or 0, "precision": 1.0}))
"""


def test_windows_are_extracted_and_merged_in_order() -> None:
    found = asyncio.run(remember(quality.OWN_EXAMPLES.read_bytes().splitlines(), Settings()))
    held = {(user_id, row.sub_topic): row.content for user_id, rows in found.profiles.items() for row in rows}
    assert held["ann", "city"] == "Oslo"
    assert held["wei", "city"] == "上海"
    assert found.windows > len(found.profiles)
    assert not found.failed


def test_without_dialogs_it_says_so_and_measures_our_own_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quality, "shared_file", lambda _: None)
    assert _run(monkeypatch, tmp_path) == 0
    assert "without a score" in capsys.readouterr().out
    (written,) = tmp_path.glob("quality-*.json")
    document = orjson.loads(written.read_bytes())
    assert (document["users"], document["scores"]) == (4, {})


def test_dialogs_with_personas_are_scored_for_each_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer, personas = tmp_path / "scorer.py", tmp_path / "personas.json"
    scorer.write_text(SCORER)
    personas.write_bytes(orjson.dumps({"ann": ["I live in Oslo."]}))
    files = ["--dialogs", str(quality.OWN_EXAMPLES), "--personas", str(personas), "--scorer", str(scorer)]
    assert _run(monkeypatch, tmp_path, *files) == 0
    assert "second half" in capsys.readouterr().out
    (written,) = tmp_path.glob("quality-*.json")
    scores = orjson.loads(written.read_bytes())["scores"]
    assert [score["recall"] for score in scores.values()] == [1, 2, 0]
    assert scores["all users"]["users"] == 4


def _run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    for name in ("MEMOSTREAM_CONFIG", "MEMOSTREAM_EXTRACTION__PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(quality, "RESULTS_FOLDER", folder)
    monkeypatch.setattr(sys, "argv", ["benchmarks.quality", *arguments])
    return quality.main()
