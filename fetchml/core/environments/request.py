"""The field `environment` of a request: which file of the snapshot lists the task's packages."""

import msgspec

from fetchml.core.requests.checks import NULL, text
from fetchml.core.requests.snapshot_paths import path_fault

SOURCES = ("requirements", "project", "script")
"""The fields of an environment. The names are on the wire."""
NO_SNAPSHOT = "needs a snapshot with the file: give snapshot_id (fetchml submit --dir)"
ROOT = "."
"""The project in the snapshot's root."""

_path = text(1024, empty=False)


class Environment(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The file of the snapshot that lists the task's packages. At most one field is set; none is if
    the task has no environment, whatever its snapshot contains."""

    requirements: str | None = None
    """Path of a requirements file."""
    project: str | None = None
    """Folder with `pyproject.toml` and `uv.lock`; `.` is the snapshot's root."""
    script: str | None = None
    """Path of a script with inline metadata (PEP 723)."""

    @property
    def source(self) -> tuple[str, str] | None:
        """Name and value of the field that is set; `None` for no environment."""
        if self.requirements is not None:
            return "requirements", self.requirements
        if self.project is not None:
            return "project", self.project
        return None if self.script is None else ("script", self.script)


def fault(value: object) -> str | None:
    """Return the fault of the field's value, or `None`."""
    if not isinstance(value, dict):
        return "must be an object with one of requirements, project, script"
    if len(value) > 1:
        return "must have one of requirements, project, script, and nothing else"
    for name, path in value.items():
        if name not in SOURCES:
            return "must have one of requirements, project, script, and nothing else"
        wrong = NULL if path is None else _path(path)
        if wrong is None and not (name == "project" and path == ROOT):
            wrong = path_fault(str(path))
        if wrong is not None:
            return f"{name} {wrong}"
    return None
