"""The documentation site: built without a warning, complete, and served from one place."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Its build fails for a dead link, a missing anchor, and a page that the navigation leaves out."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


def test_every_page_is_built_and_found_by_the_search(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    for source in (ROOT / "docs").rglob("*.md"):
        name = source.relative_to(ROOT / "docs").with_suffix("")
        place = "" if str(name) == "index" else f"{name}/"
        assert (site / place / "index.html").exists(), name
        assert f'"location":"{place}"' in index, name


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    loading = re.compile(
        r"""<(?:script|img|iframe|source|link rel="?(?:stylesheet|preconnect|icon))[^>]*(?:https?:)?//"""
    )
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        # A canonical link names the page, and loads nothing.
        assert [found[0] for found in loading.finditer(text)] == [], page


def test_the_diagrams_are_on_the_pages_that_show_them_and_describe_themselves(site: Path) -> None:
    for picture in (ROOT / "docs" / "assets").glob("*.svg"):
        assert (site / "assets" / picture.name).exists()
        text = picture.read_text(encoding="utf-8")
        assert "<title" in text
        assert "<desc" in text
