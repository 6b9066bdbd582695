"""The task of a request, by a server's defaults and some of its other rules."""

from collections.abc import Mapping
from typing import Any

from fetchml.core.model import Resources, TaskSpec
from fetchml.core.requests import submission
from fetchml.core.requests.project_file import NO_PROJECT, ProjectFile
from fetchml.core.requests.submission import Defaults, SubmissionRules


def accept(
    request: Mapping[str, object],
    defaults: Defaults,
    capacity: Resources,
    project: ProjectFile = NO_PROJECT,
    **rules: Any,
) -> TaskSpec:
    """Raises InvalidSubmission."""
    return submission.accept(request, SubmissionRules(defaults, **rules), capacity, project).spec
