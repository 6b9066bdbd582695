"""The Jupyter that is installed on this host or on nodes, for services without containers."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fetchml.errors import Unavailable
from fetchml.ports.task_environment import DEFAULT_PATH


class InstalledJupyter(NamedTuple):
    command: tuple[str, ...]
    """The program, with its full path, and its first arguments."""
    path: str
    """Its PATH: programs that are installed beside it come first."""


def find_jupyter(command: Sequence[str]) -> InstalledJupyter:
    """Look up `[jupyter] command`, each time: it may be installed while the server runs.

    Raises Unavailable.
    """
    beside = str(Path(sys.executable).parent)
    places = [beside, os.environ.get("PATH", ""), DEFAULT_PATH]
    found = shutil.which(command[0], path=os.pathsep.join(filter(None, places)))
    if found is None:
        raise Unavailable(
            f"JupyterLab is not installed on this host: there is no {command[0]!r} on the "
            "server's PATH. Install it ('pip install jupyterlab'), name it in [jupyter] command, "
            "or start the server with '--launcher docker', which takes it from an image"
        )
    # The link itself, unresolved: a virtual environment's programs lie beside it.
    program = Path.cwd() / found
    path = os.pathsep.join([str(program.parent), DEFAULT_PATH])
    return InstalledJupyter((str(program), *command[1:]), path)


def jupyter_on_nodes(command: Sequence[str]) -> InstalledJupyter:
    """Read `[jupyter] command` as nodes do: whether they have the program shows when it starts."""
    beside = [str(Path(command[0]).parent)] if command[0].startswith("/") else []
    return InstalledJupyter(tuple(command), os.pathsep.join([*beside, DEFAULT_PATH]))
