"""Environments: the packages that uv installs for a task, as a file of its snapshot lists them.

The field `environment` of a request names that file. An environment is cached by the content of the
files that uv reads. A build gets only these files, unless they name folders or other files of the
snapshot; then it gets the whole snapshot, whose id counts as the content.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, NamedTuple

from msgspec import Meta

from fetchml.core.model import Environment
from fetchml.core.requests.checks import Rule, also, described
from fetchml.core.snapshots import path_fault

SOURCES = ("requirements", "project", "script")
"""The fields of an environment. The names are on the wire."""
NO_SNAPSHOT = "needs a snapshot with the file: give snapshot_id (fetchml submit --dir)"
ROOT = "."
"""The project in the snapshot's root."""

VERSIONS = "versions"
MAX_VERSIONS = 2_000

_Path = Annotated[str, Meta(min_length=1, max_length=1024)]
_Versions = Annotated[
    list[
        Annotated[
            str,
            Meta(
                max_length=256,
                pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!_-]*\Z",
                extra=described("must be NAME==VERSION"),
            ),
        ]
    ],
    Meta(max_length=MAX_VERSIONS),
]


def _one_source(value: Mapping[str, object]) -> str | None:
    sources = {name: path for name, path in value.items() if name != VERSIONS}
    if len(sources) > 1 or not sources.keys() <= set(SOURCES):
        return f"must have one of {', '.join(SOURCES)}, and nothing else but {VERSIONS}"
    if VERSIONS in value:
        if not sources or "project" in sources:
            return f"{VERSIONS} needs requirements or script: a project has a lock"
        if wrong := Rule(_Versions).fault(value[VERSIONS]):
            return f"{VERSIONS} {wrong}"
    for name, path in sources.items():
        wrong = Rule(_Path).fault(path)
        if wrong is None and not (name == "project" and path == ROOT):
            wrong = path_fault(str(path))
        if wrong is not None:
            return f"{name} {wrong}"
    return None


EnvironmentRequest = Annotated[
    Environment,
    Meta(
        extra={
            **described(f"must be an object with one of {', '.join(SOURCES)}"),
            **also(_one_source),
        }
    ),
]
"""The field `environment` of a create request."""

MAX_FILE_BYTES = 1 << 20
"""Largest pyproject.toml or script."""
MAX_REQUIREMENTS_BYTES = 1 << 20
"""Largest requirements file, with all that it names."""
MAX_LOCK_BYTES = 32 << 20
MAX_INCLUDED = 50
"""Requirements files that one names, directly or not."""
MAX_SHOWN = 80

_INCLUDE = re.compile(r"(?:-r|-c|--requirements?|--constraints?)(?:[ \t=]+|(?=[^-\s]))(.+)")
_EDITABLE = re.compile(r"(?:-e|--editable)\b")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_PLAIN = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*[ \t]*(?:\[[^\]/]*\])?[ \t]*(?:[<>=!~(;]|@[ \t]*\S+://|$)"
)
"""A requirement by name, perhaps with the URL of an archive."""
_FROM_WEB = re.compile(r"(?:[a-z]+\+)?https?://|(?:git|hg|svn|bzr)\+[a-z]+://")
_LOCAL_SOURCE = re.compile(
    rb'^source = \{ (?:editable|directory|path|virtual) = "[^.]', re.MULTILINE
)
_SEARCHED_BYTES = 1 << 20
"""Searched at a time: other threads have no turn meanwhile."""
_LONGEST_LOCAL_SOURCE = 64
_DYNAMIC = re.compile(r"^[ \t]*dynamic[ \t]*=", re.MULTILINE)
_BLOCK_BEGINS, _BLOCK_ENDS = "# /// script", "# ///"


class BadFile(ValueError):
    """The file can't describe an environment. The message is for users, without the file's name."""


class Requirements(NamedTuple):
    included: tuple[str, ...]
    """Paths in the snapshot of other requirements files that the file names."""
    needs_tree: bool
    """The file names folders or other files of the snapshot."""


def read_requirements(path: str, content: str) -> Requirements:
    """Read one requirements file. Raises BadFile."""
    included: list[str] = []
    needs_tree = False
    for number, line in _lines(content):
        if _EDITABLE.match(line):
            raise BadFile(
                f"line {number}: editable installs (-e) are not supported: name the package "
                "without -e, or leave it out, since the task runs in the snapshot"
            )
        if match := _INCLUDE.match(line):
            included.append(_included(path, match[1].strip().strip("\"'"), number))
        elif line.startswith("-"):
            # An option such as --find-links. What is local is in the snapshot, if anywhere.
            needs_tree |= " " in line and "://" not in line
        elif not _PLAIN.match(line) or "file:" in line:
            needs_tree |= not _FROM_WEB.match(line)
    return Requirements(tuple(included), needs_tree)


def _lines(content: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with content, continued ones joined, with their numbers. Blanks in a row are
    one blank, so that no pattern takes longer than the line is long."""
    parts: list[str] = []
    started = 1
    for number, raw in enumerate(content.split("\n"), 1):
        line = raw.removesuffix("\r")
        if not parts:
            started = number
        parts.append(line.removesuffix("\\"))
        if line.endswith("\\"):
            continue
        whole = _COMMENT.sub("", " ".join(" ".join(parts).split()))
        parts.clear()
        if whole:
            yield started, whole
    if rest := _COMMENT.sub("", " ".join(" ".join(parts).split())):
        yield started, rest


def _included(path: str, named: str, number: int) -> str:
    shown = named[:MAX_SHOWN]
    if ":" in named:
        raise BadFile(f"line {number}: {shown!r} is not a file of the snapshot: copy it into it")
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(path), named))
    if named.startswith("/") or path_fault(resolved):
        raise BadFile(f"line {number}: {shown!r} does not lie in the snapshot")
    return resolved


def project_needs_tree(pyproject: str, lock: bytes) -> bool:
    """Whether the packages of a project include folders of the snapshot, besides the project."""
    return bool(_DYNAMIC.search(pyproject)) or any(
        _LOCAL_SOURCE.search(lock, first, first + _SEARCHED_BYTES + _LONGEST_LOCAL_SOURCE)
        for first in range(0, len(lock), _SEARCHED_BYTES)
    )


def script_metadata(content: str) -> str:
    """Return the block of inline metadata (PEP 723) of a script. Raises BadFile."""
    block: list[str] = []
    for raw in content.split("\n"):
        line = raw.rstrip()
        if not block and line != _BLOCK_BEGINS:
            continue
        if block and line != "#" and not line.startswith("# "):
            break
        block.append(line)
        if line == _BLOCK_ENDS:
            return "\n".join([*block, ""])
    raise BadFile("has no block '# /// script' with its dependencies (PEP 723)")


def has_local_sources(metadata: str) -> bool:
    """Whether a script's metadata may name folders or files of the snapshot."""
    return "tool.uv" in metadata or "file:" in metadata
