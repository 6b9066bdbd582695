"""fetchml.toml in the root of a snapshot: defaults for the tasks that run it.

A request has to grant the secrets, volumes and webhooks that the file asks for. The code may come
from somebody else: if its fetchml.toml alone could name them, it would get the tokens and files of
the user who submits it. So a task gets those of its request only, in the form that the request has.
"""

import re
import shlex
import tomllib
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, cast

import msgspec

from fetchml.core.requests.checks import Check, Violation
from fetchml.core.requests.text import nearest
from fetchml.core.snapshots import PROJECT_FILE, ParsedFile

MAX_VIOLATIONS = 10
"""Violations that are reported for one file."""
MAX_SHOWN = 80
"""Characters of a name."""
CLIENT_TABLES = ("sweep",)
"""Tables that the command line reads."""
TIME = "start_after"
"""The entry that may be a time of TOML."""
MAX_DOTS = 100
"""Dots in one line: the TOML parser's time grows with the square of a dotted name's parts."""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    text: str
    fields: Mapping[str, object]
    """Valid settings."""
    faults: tuple[Violation, ...] = ()

    def violation(self, name: str, rule: str) -> Violation:
        """The fault of a setting, with its line."""
        setting, shown = re.escape(name), name[:MAX_SHOWN]
        fault = f"{shown}{'' if rule.startswith(':') else ' '}{rule}"
        line = rf"""^[ \t]*(\[{{1,2}}[ \t]*)?["']?{setting}["']?[ \t]*[=.\]]"""
        if found := re.search(line, self.text, re.MULTILINE):
            number = self.text.count("\n", 0, found.start()) + 1
            return Violation(PROJECT_FILE, f"line {number}: {fault}")
        return Violation(PROJECT_FILE, fault)

    def placed(
        self, found: Violation, request: Container[str], *, is_sentence: bool = False
    ) -> Violation:
        """The fault of a field, as one of the file if the field has its value from there.
        `is_sentence`: the rule does not continue after the field's name."""
        if found.field in request or found.field not in self.fields:
            return found
        return self.violation(found.field, f": {found.rule}" if is_sentence else found.rule)


NO_PROJECT = ProjectFile("", {})
"""Of a task without a snapshot, or whose snapshot has no such file."""


@lru_cache(maxsize=64)
def parsed_before(text: str, parsed: ParsedFile) -> ProjectFile:
    """Return what `read` returned for a text. Cached, since many tasks share a snapshot."""
    faults = tuple(Violation(*each) for each in parsed.faults)
    return ProjectFile(text, msgspec.json.decode(parsed.fields), faults)


def read(
    text: str, rules: Mapping[str, Check], of_requests: Container[str], release: str
) -> ParsedFile:
    """Parse the file; slow. `of_requests`: fields that a request has; those that are no settings
    belong to one task. `release`: this one."""
    fields, faults = _read(text, rules, of_requests)
    return ParsedFile(
        release,
        msgspec.json.encode(fields).decode(),
        tuple((each.field, each.rule) for each in faults),
    )


def _read(
    text: str, rules: Mapping[str, Check], of_requests: Container[str]
) -> tuple[dict[str, object], list[Violation]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_DOTS:
            wrong = Violation(PROJECT_FILE, f"line {number}: has more than {MAX_DOTS} dots")
            return {}, [wrong]
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # A number of too many digits raises a plain ValueError.
        wrong = Violation(PROJECT_FILE, f"is not TOML: {str(error).lower()}")
        return {}, [wrong]
    if isinstance(time := given.get(TIME), datetime):
        given[TIME] = time.isoformat()  # Without an offset it breaks the rule of times.
    file = ProjectFile(text, {})
    valid: dict[str, object] = {}
    violations: list[Violation] = []
    for name, value in given.items():
        if len(violations) == MAX_VIOLATIONS:
            break
        if name in CLIENT_TABLES:
            continue
        if name in rules:
            wrong_value = rules[name](value)
        else:
            wrong_value = f"is not a setting: {_hint(name, rules, of_requests)}"
        if wrong_value is None:
            valid[name] = value
        else:
            violations.append(file.violation(name, wrong_value))
    return valid, violations


def _hint(name: str, rules: Mapping[str, Check], of_requests: Container[str]) -> str:
    if name in of_requests:
        return "it belongs to one task, so give it when you submit"
    near = nearest(name, rules)
    return f"did you mean {near}?" if near else f"there are {', '.join(rules)}"


class Grant(StrEnum):
    """Entries that the request has to grant or to leave out."""

    SECRETS = "secrets"
    VOLUMES = "volumes"
    NOTIFY = "notify"


GRANTED = tuple(Grant)
_MOST_OPTIONS = 1000
"""Characters of options in a message."""


def grant_violations(
    project: ProjectFile, request: Collection[str], left_out: Collection[str]
) -> list[Violation]:
    """Return a violation if the file asks for anything that the request neither names nor leaves
    out."""
    asked = {
        name: options
        for name in GRANTED
        if name not in request and name not in left_out
        if (options := _options(name, project.fields.get(name)))
    }
    if not asked:
        return []
    shown = " ".join(" ".join(options) for options in asked.values())
    if len(shown) > _MOST_OPTIONS:
        shown = "options that name each"
    rule = (
        f": the file can't grant itself what it asks for. Submit with {shown}, or leave it out: "
        f"{' '.join(f'--without {name}' for name in asked)} (in a request the fields "
        f"{', '.join(asked)}, without)"
    )
    return [project.violation(next(iter(asked)), rule)]


def _options(name: str, value: object) -> list[str]:
    """The options of `fetchml submit` that grant a valid value."""
    entries = cast("list[Any]", value or [])
    match name:
        case "secrets":
            return [f"--secret {_secret(each)}" for each in entries]
        case "volumes":
            return [f"--volume {shlex.quote(each)}" for each in entries]
    return [f"--notify {shlex.quote(_target(each))}" for each in entries]


def _secret(use: Mapping[str, str]) -> str:
    return use["name"] + (":file" if use.get("as") == "file" else "")


def _target(target: Mapping[str, Any]) -> str:
    return ",".join([*target.get("on", ()), target["url"]])
