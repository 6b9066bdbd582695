"""A snapshot's fetchml.toml, as submits get it."""

from fetchml.core.requests import project_file, submission
from fetchml.core.requests.project_file import ProjectFile


def project_of(text: str) -> ProjectFile:
    return project_file.parsed_before(text, submission.read_project(text, "0"))
