"""The check of the lock file against known vulnerabilities."""

from datetime import date

import pytest

from build import audit

TODAY = date(2026, 11, 25)
REPORT = {
    "dependencies": [
        {"name": "fine", "version": "1.0", "vulns": []},
        {
            "name": "ill",
            "version": "1.0",
            "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}],
        },
        {"name": "unknown", "skip_reason": "not found"},
    ]
}


def test_an_exception_counts_until_its_day() -> None:
    lines = "# a comment\n\nCVE-1 2026-11-25 not reached\nCVE-2 2026-11-24 not reached\n"
    assert audit.exceptions(lines, TODAY) == {"CVE-1"}


@pytest.mark.parametrize("line", ["CVE-1", "CVE-1 2026-11-25", "CVE-1 tomorrow not reached"])
def test_an_unreadable_exception_is_named(line: str) -> None:
    with pytest.raises(audit.BadException, match=line):
        audit.exceptions(line, TODAY)


def test_vulnerabilities_carry_all_their_names() -> None:
    [found] = audit.vulnerabilities(REPORT)
    assert found == audit.Vulnerability("ill", "1.0", frozenset({"PYSEC-1", "CVE-1"}), "1.1")


def test_a_source_that_knows_no_library_is_no_source() -> None:
    assert audit.was_audited(REPORT)
    assert not audit.was_audited({"dependencies": REPORT["dependencies"][2:]})
    assert not audit.was_audited({"dependencies": []})


def test_the_recorded_exceptions_can_be_read() -> None:
    audit.exceptions(audit.EXCEPTIONS.read_text(), TODAY)
