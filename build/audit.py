"""Looks up known vulnerabilities of everything in requirements.lock: `make audit`.

Fails on each vulnerability that `build/audit-exceptions.txt` does not list. Where no advisory
source can be reached it prints a warning and succeeds: a build without a network for that is no
sign of a vulnerability. `--strict` makes that a failure too: `build/release.sh` uses it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
EXCEPTIONS = ROOT / "build/audit-exceptions.txt"
SECONDS = 300


class BadException(Exception):
    """A line of the exceptions that can't be read; the message names it."""


class Vulnerability(NamedTuple):
    library: str
    version: str
    ids: frozenset[str]
    """Its identifier and the aliases, such as the CVE."""
    fixed_in: str


def exceptions(text: str, today: date) -> frozenset[str]:
    """The identifiers that are accepted today. Raises BadException.

    A line is `ID UNTIL REASON`, with UNTIL as YYYY-MM-DD; `#` begins a comment.
    """
    accepted = set[str]()
    for line in text.splitlines():
        words = line.partition("#")[0].split(maxsplit=2)
        if not words:
            continue
        try:
            name, until, _reason = words
            if date.fromisoformat(until) >= today:
                accepted.add(name)
        except ValueError:
            raise BadException(f"{line!r}: write ID YYYY-MM-DD REASON") from None
    return frozenset(accepted)


def vulnerabilities(found: Any) -> Iterator[Vulnerability]:
    """What a report of pip-audit lists."""
    for library in found["dependencies"]:
        for each in library.get("vulns", ()):
            ids = frozenset([each["id"], *each.get("aliases", ())])
            fixed = ", ".join(each.get("fix_versions", ())) or "no release"
            yield Vulnerability(library["name"], library["version"], ids, fixed)


def was_audited(found: Any) -> bool:
    """Whether the advisory source knew any library at all."""
    return any("skip_reason" not in library for library in found["dependencies"])


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes"]
    command += ["--disable-pip", "--progress-spinner", "off", "--format", "json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    try:
        found = json.loads(ran.stdout)
    except ValueError:
        found = {"dependencies": []}
    if not was_audited(found):
        print("audit: NOT AUDITED: no source of advisories can be reached from here")
        return int("--strict" in sys.argv[1:])
    accepted = exceptions(EXCEPTIONS.read_text(), datetime.now(UTC).date())
    open_ones = [each for each in vulnerabilities(found) if not each.ids & accepted]
    for each in open_ones:
        names = ", ".join(sorted(each.ids))
        print(f"audit: {each.library} {each.version}: {names}; fixed in {each.fixed_in}")
    print(f"audit: {len(found['dependencies'])} libraries, {len(open_ones)} vulnerabilities")
    return int(bool(open_ones))


if __name__ == "__main__":
    sys.exit(main())
