"""A JupyterLab that is installed on this host, in a virtual environment of its own."""

import subprocess
import sys
from pathlib import Path

from tests.jupyter.image import PACKAGES


def install_jupyterlab(folder: Path) -> Path:
    """Make the environment from a package index. Returns its `jupyter-lab`."""
    environment = folder / "environment"
    uv = [str(Path(sys.executable).with_name("uv")), "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(environment)], check=True)
    python = str(environment / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "--python", python, *PACKAGES], check=True)
    return environment / "bin" / "jupyter-lab"
