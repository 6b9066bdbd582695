"""The check of the lock file against known vulnerabilities."""

import json
import subprocess
from datetime import date
from pathlib import Path

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


def test_exception_applies_until_its_date() -> None:
    lines = "# a comment\n\nCVE-1 2026-11-25 not reached\nCVE-2 2026-11-24 not reached\n"
    assert audit.exceptions(lines, TODAY) == {"CVE-1"}


@pytest.mark.parametrize("line", ["CVE-1", "CVE-1 2026-11-25", "CVE-1 tomorrow not reached"])
def test_malformed_exception_is_reported(line: str) -> None:
    with pytest.raises(audit.BadException, match=line):
        audit.exceptions(line, TODAY)


def test_vulnerabilities_carry_all_their_names() -> None:
    [found] = audit.vulnerabilities(REPORT)
    assert found == audit.Vulnerability("ill", "1.0", frozenset({"PYSEC-1", "CVE-1"}), "1.1")


def test_source_without_known_libraries_is_rejected() -> None:
    assert audit.was_audited(REPORT)
    assert not audit.was_audited({"dependencies": REPORT["dependencies"][2:]})
    assert not audit.was_audited({"dependencies": []})


def test_recorded_exceptions_are_valid() -> None:
    audit.exceptions(audit.EXCEPTIONS.read_text(), TODAY)


REACHABLE = {"dependencies": REPORT["dependencies"][:2]}
UNREACHABLE = {"dependencies": REPORT["dependencies"][2:]}
HEALTHY = {"dependencies": REPORT["dependencies"][:1]}


@pytest.mark.parametrize(
    ("report", "accepted", "flags", "code", "printed"),
    [
        (REACHABLE, "", [], 1, "CVE-1"),
        (REACHABLE, "", ["--strict"], 1, "CVE-1"),
        (REACHABLE, "PYSEC-1 2999-01-01 not reached", ["--strict"], 0, "0 vulnerabilities"),
        (REACHABLE, "PYSEC-1 2001-01-01 not reached", [], 1, "CVE-1"),
        (HEALTHY, "", ["--strict"], 0, "0 vulnerabilities"),
        (UNREACHABLE, "", [], 0, "NOT AUDITED"),
        (UNREACHABLE, "", ["--strict"], 1, "NOT AUDITED"),
        (None, "", ["--strict"], 1, "NOT AUDITED"),
    ],
)
def test_audit_fails_on_what_is_known_and_if_strict_on_what_is_not(
    report: object,
    accepted: str,
    flags: list[str],
    code: int,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = tmp_path / "exceptions"
    listed.write_text(accepted)
    out = "no network" if report is None else json.dumps(report)
    done = subprocess.CompletedProcess[str]([], 1, out, "")
    monkeypatch.setattr(audit, "EXCEPTIONS", listed)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)
    monkeypatch.setattr("sys.argv", ["audit.py", *flags])
    assert audit.main() == code
    assert printed in capsys.readouterr().out
