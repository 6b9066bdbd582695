"""docs/security.md maps the OWASP API Security Top 10 to tests that exist."""

import re

from tests.support.validate import ROOT

PAGE = (ROOT / "docs/security.md").read_text()
ROW = re.compile(r"^\| (API\d+:2023) [^|]+ \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST_FILE = re.compile(r"`(tests/[\w/]+\.py)`")


def test_table_has_every_risk_once_in_order() -> None:
    assert [risk for risk, _, _ in ROW.findall(PAGE)] == [f"API{n}:2023" for n in range(1, 11)]


def test_every_risk_has_a_sentence_and_tests() -> None:
    for risk, sentence, tests in ROW.findall(PAGE):
        assert sentence.endswith("."), risk
        assert TEST_FILE.findall(tests), risk
        assert not TEST_FILE.sub("", tests).strip(", "), f"{risk}: not a test file: {tests}"


def test_tests_named_on_the_page_exist() -> None:
    named = set(TEST_FILE.findall(PAGE))
    assert len(named) > 20
    for file in sorted(named):
        path = ROOT / file
        assert path.is_file(), file
        assert re.search(
            r"^(?:async )?def test_|^    (?:async )?def test_", path.read_text(), re.MULTILINE
        ), file
