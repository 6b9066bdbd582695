"""The root file system of an image with JupyterLab, made once for all rooms of a process."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from examples.local_image import Interpreter
from tests.jupyter.image import write_root


class Root(NamedTuple):
    """To be imported in any engine."""

    archive: Path
    python: Interpreter


@pytest.fixture(scope="session")
def jupyter_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    archive = tmp_path_factory.mktemp("jupyter") / "root.tar"
    yield Root(archive, write_root(archive))
    archive.unlink()
