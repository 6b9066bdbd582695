"""The statically linked uv, as docs/environments.md gets it: images made from this machine's Python
lack libraries that the other one needs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from examples.local_image import find_python


def download_static_uv(folder: Path) -> Path:
    """Return the path of the program, of the same version as the installed uv, in `folder`."""
    installed = [str(Path(sys.executable).parent / "uv"), "--version"]
    shown = subprocess.run(installed, check=True, capture_output=True, text=True).stdout
    download_wheels(folder, f"uv=={shown.split()[1]}", "--platform", "musllinux_1_1_x86_64")
    [found] = folder.glob("*.whl")
    with zipfile.ZipFile(found) as packed:
        name = next(each for each in packed.namelist() if each.endswith("/scripts/uv"))
        with packed.open(name) as source, (folder / "uv").open("wb") as target:
            shutil.copyfileobj(source, target)
    (folder / "uv").chmod(0o755)
    return folder / "uv"


def download_wheels(folder: Path, *wanted: str) -> None:
    """Download wheels of packages, and of what these need, for images made from this machine's
    Python. `wanted`: arguments of pip."""
    pip = [sys.executable, "-m", "pip", "--python", str(find_python().executable), "download"]
    subprocess.run([*pip, "-q", "-d", str(folder), "--only-binary", ":all:", *wanted], check=True)
