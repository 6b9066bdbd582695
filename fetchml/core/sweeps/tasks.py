"""The tasks of a sweep: its request, filled in for each index.

`{lr}` in `args`, in `command` and in values of `env` stands for the parameter `lr`. The command and
the variables may also be those of the snapshot's fetchml.toml.

`{{lr}}` is the text `{lr}`. Other braces are left alone, so JSON and `${}` need no escape unless
they enclose a name. Arguments are split into words first: a value never becomes a second word.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from msgspec.structs import replace

from fetchml.core.dependencies import request
from fetchml.core.footprint import encode_spec, footprint
from fetchml.core.model import SweepMember, TaskSpec
from fetchml.core.requests import shell_words, submission
from fetchml.core.requests.checks import Violation
from fetchml.core.requests.project_file import NO_PROJECT, ProjectFile
from fetchml.core.requests.submission import Accepted
from fetchml.core.sweeps.definition import Definition

FILLED = ("args", "command", "env")
"""Fields of a request that may have placeholders."""
MAX_NAMED = 5
"""Unknown placeholders that one message names."""

_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_]*)\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Template:
    """The parts of a create request that depend on the parameters."""

    def __init__(self, task: Mapping[str, object], project: ProjectFile = NO_PROJECT) -> None:
        """`task`: a request as a client sent it. What breaks a rule is left out here; the rules of
        requests report it. `project`: sets the command if the request has none, and further
        variables."""
        self._task, self._project = task, project
        args, command, env = task.get("args"), task.get("command"), task.get("env", {})
        if "command" not in task:
            command = project.fields.get("command")
        self._words: list[str] | None = None
        if isinstance(args, str) and _PLACEHOLDER.search(args) and shell_words.fault(args) is None:
            self._words = shell_words.split(args)
        self._command: list[object] | None = None
        if isinstance(command, list) and any(_has_placeholder(word) for word in command):
            self._command = command
        self._env: dict[str, object] | None = None
        if isinstance(env, dict):
            env = {**cast("Mapping[str, object]", project.fields.get("env", {})), **env}
            if any(_has_placeholder(value) for value in env.values()):
                self._env = env

    @property
    def names(self) -> frozenset[str]:
        """The names of all placeholders."""
        texts = [*(self._words or ()), *(self._command or ()), *(self._env or {}).values()]
        found = (_PLACEHOLDER.finditer(text) for text in texts if isinstance(text, str))
        return frozenset(match[2] for matches in found for match in matches if match[2])

    def violations(self, names: Mapping[str, object]) -> list[Violation]:
        """Return placeholders that name no parameter. `names`: the names of all parameters."""
        violations: list[Violation] = []
        own = self._task.get("env", {})
        env: tuple[list[object], list[object]] = [], []
        for name, value in (self._env or {}).items():
            env[isinstance(own, dict) and name in own].append(value)
        for field, is_own, texts in (
            ("args", True, self._words or []),
            ("command", "command" in self._task, self._command or []),
            ("env", True, env[True]),
            ("env", False, env[False]),
        ):
            unknown = {
                match[2]: None
                for text in texts
                if isinstance(text, str)
                for match in _PLACEHOLDER.finditer(text)
                if match[2] is not None and match[2] not in names
            }
            if unknown:
                shown = ", ".join(f"{{{name[:64]}}}" for name in list(unknown)[:MAX_NAMED])
                rule = (
                    f"has the placeholder {shown}, but the parameters are "
                    f"{', '.join(sorted(names))}: correct it, or double the braces of literal "
                    "text"
                )
                of_request = Violation(f"task.{field}", rule)
                violations.append(of_request if is_own else self._project.violation(field, rule))
        return violations

    def filled(self, parameters: Mapping[str, str]) -> dict[str, object]:
        """Return the fields that have placeholders, with the values of one task."""

        def text(template: object) -> object:
            return _PLACEHOLDER.sub(value, template) if isinstance(template, str) else template

        def value(match: re.Match[str]) -> str:
            if match[2] is None:
                return f"{{{match[1]}}}"
            return parameters.get(match[2], match[0])

        fields: dict[str, object] = {}
        if self._words is not None:
            fields["args"] = shlex.join(_PLACEHOLDER.sub(value, word) for word in self._words)
        if self._command is not None:
            fields["command"] = [text(word) for word in self._command]
        if self._env is not None:
            fields["env"] = {name: text(template) for name, template in self._env.items()}
        return fields


def _has_placeholder(text: object) -> bool:
    return isinstance(text, str) and _PLACEHOLDER.search(text) is not None


class Expansion:
    def __init__(
        self,
        definition: Definition,
        sweep_id: str,
        seed: int,
        project: ProjectFile = NO_PROJECT,
    ) -> None:
        """`project`: the snapshot's fetchml.toml."""
        self._definition = definition
        self._sweep_id = sweep_id
        self._seed = seed
        # A file with faults fails the first request.
        self._template = Template(definition.task, NO_PROJECT if project.faults else project)

    def violations(self) -> list[Violation]:
        """Placeholders that name no parameter."""
        return self._template.violations(dict(self._definition.axes))

    def first_request(self) -> dict[str, object]:
        """The request of the first task, for the rules that all requests are checked by."""
        drawn = self._definition.drawn(self._seed, range(1))
        filled = self._template.filled(self._definition.parameters(0, drawn))
        return {**self._definition.task, **filled}

    def specs(
        self,
        first: TaskSpec,
        drawn: Sequence[float],
        count: int,
        followed: Mapping[str, Sequence[str]] | None = None,
    ) -> Iterator[Accepted]:
        """Yield the first `count` tasks in the order of their indexes. `first`: the accepted first
        request, which differs from the others in its placeholders only. `drawn`: their numbers,
        see `Definition.drawn`. `followed`: see `by_index.of_index`. Raises InvalidSubmission."""
        width = len(drawn) // count
        for index in range(count):
            spec = self._spec(first, index, drawn[index * width : (index + 1) * width])
            if followed:
                try:
                    spec = request.of_index(spec, index, followed)
                except request.NamedTwice as error:
                    raise submission.InvalidSubmission(
                        [Violation("task.after", str(error))]
                    ) from None
            encoded = encode_spec(spec)
            if wrong := submission.size_fault(encoded):
                rule = f"{wrong} (in the task with index {index})"
                raise submission.InvalidSubmission([Violation("task", rule)])
            yield Accepted(spec, footprint(encoded))

    def _spec(self, first: TaskSpec, index: int, drawn: Sequence[float]) -> TaskSpec:
        parameters = self._definition.parameters(index, drawn)
        filled = self._template.filled(parameters)
        for name, value in filled.items():
            if wrong := submission.field_fault(name, value):
                rule = f"{wrong} (in the task with index {index})"
                raise submission.InvalidSubmission([Violation(f"task.{name}", rule)])
        member = SweepMember(self._sweep_id, index, parameters, self._definition.max_parallel)
        return replace(first, sweep=member, **_converted(filled, first))


def _converted(filled: dict[str, object], first: TaskSpec) -> dict[str, object]:
    """The fields as those of a task."""
    fields = dict(filled)
    if isinstance(command := fields.get("command"), list):
        fields["command"] = tuple(command)
    if isinstance(env := fields.get("env"), dict):
        fields["env"] = {**(first.env or {}), **env}
    return fields
