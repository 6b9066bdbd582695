"""The documentation site builds without a broken link and loads nothing from other hosts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.validate import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    mkdocs = Path(sys.executable).with_name("mkdocs")
    subprocess.run([mkdocs, "build", "--quiet", "--site-dir", folder], cwd=ROOT, check=True)
    return folder


@pytest.mark.slow
def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?(?:https?:)?//[^\s\">]+"
    )
    for page in site.rglob("*.html"):
        assert loaded.findall(page.read_text()) == []
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\"?(?:https?:)?//|@import", sheet.read_text())


def test_index_lists_every_page() -> None:
    folder = ROOT / "docs"
    index = (folder / "index.md").read_text()
    listed = set(re.findall(r"^\| \[.+?\]\((.+?)\) \|", index, re.MULTILINE))
    pages = {page.name for page in folder.glob("*.md")} - {"index.md"}
    assert listed == pages | {"decisions/README.md"}


def test_paths_that_pages_name_exist() -> None:
    """Upper-case parts (`NAME`) are placeholders."""
    for page in (ROOT / "docs").rglob("*.md"):
        for path in re.findall(
            r"`((?:[a-z_\d]+/)+[a-z_\d.-]+\.(?:py|sh|c|yaml|md))`", page.read_text()
        ):
            places = (ROOT, ROOT / "fetchml", ROOT / "fetchml/core")
            assert any((place / path).exists() for place in places), f"{page.name}: {path}"


def test_index_of_decisions_is_complete_and_numbered() -> None:
    folder = ROOT / "docs/decisions"
    files = sorted(page.name for page in folder.glob("0*.md"))
    listed = re.findall(
        r"^\| (\d+) \| \[.+\]\((.+)\) \|$", (folder / "README.md").read_text(), re.MULTILINE
    )
    assert [name for _, name in listed] == files
    for number, name in listed:
        assert name.startswith(f"{int(number):04}-")
        assert (folder / name).read_text().startswith(f"# {number}. ")
    # People who work at the same time reserve numbers: some stay unused.
    numbers = [int(number) for number, _ in listed]
    assert numbers == sorted(set(numbers))
