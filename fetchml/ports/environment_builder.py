"""The builder: lets uv install packages for tasks, where and as the tasks themselves run.

Building a package may run its author's code, so a build has what a task of the same user has, and
nothing more: the same image, user, network and kinds of limits.

1. `open` connects. Builds that an earlier server left are ended, at once or as soon as the backend
   answers; `earlier_ended` returns then.
2. Any number of builds run, each in a folder of its own.
3. `close` ends those under way.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from fetchml.ports.launcher import Owner

SOURCE, ENVIRONMENT, HOME = "source", "environment", "home"
"""Folders of a build: the files that uv reads, what it makes, and its home, which is removed."""
VERSIONS = "versions.txt"
"""File in HOME, if there is one, of versions that uv may choose, as `name==version` in lines."""
NO_PYTHON = 90
"""Exit code of a build where there is no Python."""
NO_UV = 91
"""Exit code where uv does not run."""


class Platform(msgspec.Struct, frozen=True):
    """Where an environment runs."""

    identity: str
    """Changes whenever an environment has to be built again: names interpreter and machine."""
    path: str
    """The tasks' PATH without an environment."""


class Build(msgspec.Struct, frozen=True):
    """One environment to be built."""

    name: str
    """Unique among all builds."""
    folder: Path
    """It contains SOURCE, ENVIRONMENT and HOME, which belong to `owner`; the last two are empty."""
    cache: Path
    """uv's cache of this user, which belongs to `owner`."""
    image: str
    owner: Owner
    kind: str
    """`requirements`, `project`, `script`, or `locked` for a script with a lock."""
    path: str
    """The file or folder below SOURCE."""


class BuildFailed(Exception):
    """uv, or something that it ran, failed."""

    def __init__(self, code: int | None, output: bytes, *, why: str = "") -> None:
        super().__init__(why or f"exit {code}")
        self.code = code
        """Exit code; `None` if it was ended."""
        self.output = output
        """The end of what it wrote: bytes that anybody may have chosen."""
        self.why = why
        """Set if something other than uv ended it: a limit, as words for the user."""


class EnvironmentBuilder(Protocol):
    """Runs uv; the module describes the order of the calls. Raises PrepareError for what the
    backend cannot do, and waits while the backend is unavailable."""

    mount_path: str | None
    """Where tasks see their environment; `None` if they see it where it lies."""
    has_network: bool
    """Builds reach the network, as tasks do."""

    async def open(self, instance_id: str) -> None:
        """Connect."""

    async def earlier_ended(self) -> None:
        """Return when no build of an earlier server runs any more."""

    async def platform(self, image: str, progress: Callable[[str], None]) -> Platform:
        """Return where tasks of this image run; pulls the image if needed. Raises PrepareError."""

    async def build(self, build: Build, progress: Callable[[str], None]) -> None:
        """Fill ENVIRONMENT. `progress` receives uv's lines. After a cancellation nothing of the
        build runs any more. Raises BuildFailed, PrepareError."""

    async def close(self) -> None:
        """Disconnect, once no build runs."""
