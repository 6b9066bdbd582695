"""fetchml.toml, in the root of a snapshot: what its tasks are, where a request is silent."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from fetchml.core.checks import Check, Violation
from fetchml.core.snapshot import PROJECT_FILE


@dataclass(frozen=True, slots=True)
class ProjectFile:
    text: str
    fields: Mapping[str, object]

    def violation(self, name: str, rule: str) -> Violation:
        """What is wrong with a setting, and in which line it stands."""
        setting = re.escape(name)
        line = re.compile(rf"""[ \t]*(\[[ \t]*)?["']?{setting}["']?[ \t]*[=.\]]""")
        for number, text in enumerate(self.text.splitlines(), 1):
            if line.match(text):
                return Violation(PROJECT_FILE, f"line {number}: {name} {rule}")
        return Violation(PROJECT_FILE, f"{name} {rule}")


def read(text: str, rules: Mapping[str, Check]) -> tuple[ProjectFile, list[Violation]]:
    """The settings that are as they must be, and what is wrong with the others."""
    try:
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        wrong = Violation(PROJECT_FILE, f"is not TOML: {str(error).lower()}")
        return ProjectFile(text, {}), [wrong]
    file = ProjectFile(text, {name: value for name, value in given.items() if name in rules})
    violations = []
    for name, value in given.items():
        if name in rules:
            wrong_value = rules[name](value)
        else:
            near = difflib.get_close_matches(name, rules, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(rules)}"
            wrong_value = f"is not a setting: {hint}"
        if wrong_value is not None:
            violations.append(file.violation(name, wrong_value))
    return file, violations
