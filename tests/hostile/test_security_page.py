"""docs/security.md maps attacks, and the OWASP API Security Top 10, to tests that exist."""

import re

from tests.support.validate import ROOT

PAGE = (ROOT / "docs/security.md").read_text()
ROW = re.compile(r"^\| (API\d+:2023) [^|]+ \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
TEST_FILE = re.compile(r"`(tests/[\w/]+\.py)`")
ATTACK = re.compile(r"^\| [^|]+ \| [^|]+ \| `tests/[\w/]+\.py::test_\w+` \|$", re.MULTILINE)


def test_table_has_every_risk_once_in_order() -> None:
    assert [risk for risk, _, _ in ROW.findall(PAGE)] == [f"API{n}:2023" for n in range(1, 11)]


def test_every_risk_has_a_sentence_and_tests() -> None:
    for risk, sentence, tests in ROW.findall(PAGE):
        assert sentence.endswith("."), risk
        assert len(TEST.findall(tests)) >= 3, risk
        assert not TEST.sub("", tests).strip(", "), f"{risk}: not a test: {tests}"


def test_tests_named_on_the_page_exist() -> None:
    named = TEST.findall(PAGE)
    assert len(named) > 50
    for file, test in named:
        found = re.search(rf"^ *(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE)
        assert found, f"{file}::{test}"
    for file in TEST_FILE.findall(PAGE):
        assert (ROOT / file).is_file(), file


def test_every_attack_names_its_test() -> None:
    section = PAGE.partition("### Attacks and their tests")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(ATTACK.findall(section)) == len(rows) > 20
