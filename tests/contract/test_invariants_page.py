"""docs/invariants.md lists every invariant once, each with tests that exist."""

import re

import pytest

from tests.support.validate import ROOT

PAGE = (ROOT / "docs/invariants.md").read_text()
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]


def test_invariants_are_numbered_in_order() -> None:
    numbers = [section.partition(".")[0] for section in SECTIONS]
    assert numbers == [f"I{number}" for number in range(1, 14)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition(".")[0])
def test_named_tests_exist(section: str) -> None:
    files = re.findall(r"`(tests/[\w/]+\.py)`", section)
    assert files
    for file in files:
        text = (ROOT / file).read_text()
        assert re.search(r"^ *(async )?def test_|^Test\w+ =|^class Test", text, re.MULTILINE), file
