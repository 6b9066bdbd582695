"""The tasks of a sweep: its request, filled in for each index."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from fetchml.core.dependencies import by_index
from fetchml.core.footprint import encode_spec, footprint
from fetchml.core.model import TaskSpec
from fetchml.core.requests import submission
from fetchml.core.requests.checks import Violation
from fetchml.core.requests.project_file import NO_PROJECT, ProjectFile
from fetchml.core.requests.submission import Accepted
from fetchml.core.sweeps.definition import Definition
from fetchml.core.sweeps.member import SweepMember
from fetchml.core.sweeps.template import Template


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
                    spec = by_index.of_index(spec, index, followed)
                except by_index.NamedTwice as error:
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
