"""README and documentation pages, without running them: blocks, links, commands, consumers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.faults import CONTENT_REJECTED, CUT_DIFFERENTLY, TOO_LONG
from cli.main import app
from schemas.images import UNSUPPORTED_CONTENT
from schemas.mapping_fields import MAPPING_FAILED
from storage.units import ID_CONFLICT
from tests.support.documents import ROOT, Page, blocks, page_paths, read_page

README = "README.md"
PAGES = page_paths()
LINKED = [*PAGES, "CHANGELOG.md"]


def texts(page: str) -> Iterator[str]:
    """The lines outside of fenced blocks: what a reader sees as text."""
    fence = ""
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        mark = re.match(r" *(```+|~~~+)", line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
        elif mark:
            fence = mark[1]
        else:
            yield line


def anchors(path: Path) -> set[str]:
    """The headings of a page as the repository's host names them; the site's own check knows its names."""
    titles = [line.lstrip("# ") for line in texts(str(path.relative_to(ROOT))) if line.startswith("#")]
    plain = [re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


def links(page: str) -> list[str]:
    """Targets within the repository."""
    found = re.findall(r"\]\(<?([^)\s>]+)>?\)", re.sub(r"`[^`]*`", "", "\n".join(texts(page))))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("path", PAGES)
def test_every_block_is_run_or_written_or_says_why_not(path: str) -> None:
    assert list(read_page(path).problems) == []


@pytest.mark.parametrize("path", LINKED)
def test_every_link_to_a_file_or_a_heading_leads_somewhere(path: str) -> None:
    for target in links(path):
        name, _, heading = target.partition("#")
        file = ((ROOT / path).parent / name).resolve() if name else ROOT / path
        assert file.exists(), target
        if heading and file.suffix == ".md":
            assert heading in anchors(file), target


def test_no_two_pages_that_share_a_system_use_the_same_users() -> None:
    used: dict[str, set[str]] = {}
    for page in map(read_page, PAGES):
        if not page.own_system:
            for user in users(page):
                used.setdefault(user, set()).add(page.path)
    assert {user: pages for user, pages in used.items() if len(pages) > 1} == {}


def users(page: Page) -> set[str]:
    shown = "\n".join(step.block.text for step in page.steps)
    return {name for pair in re.findall(r'--user (\w+)|"user_id": ?"(\w+)"', shown) for name in pair if name}


def test_the_readme_names_every_command_and_no_other() -> None:
    text = (ROOT / README).read_text(encoding="utf-8")
    named = set(re.findall(r"memostream ([a-z][a-z-]+)\b", text)) | set(re.findall(r"`([a-z-]+) USER`", text))
    known = {
        (command.name or command.callback.__name__.replace("_", "-"))
        for command in app.registered_commands
        if command.callback is not None
    } | {group.name for group in app.registered_groups}
    assert named == known


@pytest.mark.parametrize("path", PAGES)
def test_every_consumer_that_a_page_shows_reads_committed_records_only(path: str) -> None:
    for block in blocks((ROOT / path).read_text(encoding="utf-8")):
        if re.search(r"AIOKafkaConsumer\(|\bConsumer\(|kcat -C|kafka-console-consumer", block.text):
            assert re.search(r"read.committed", block.text, re.IGNORECASE), block.line


def test_every_reason_for_which_a_record_is_parked_is_explained() -> None:
    written = {CONTENT_REJECTED, TOO_LONG, UNSUPPORTED_CONTENT, CUT_DIFFERENTLY, ID_CONFLICT, MAPPING_FAILED}
    for folder in ("schemas", "streams", "agents", "storage"):
        for source in (ROOT / folder).glob("*.py"):
            written |= set(re.findall(r'InvalidRecord\(\s*"([a-z0-9-]+)"', source.read_text(encoding="utf-8")))
    rows = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8").splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    explained = {reason for cell in cells for reason in re.findall(r"`([a-z0-9-]+)`", cell)}
    assert written <= explained
