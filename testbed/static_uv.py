"""The statically linked uv, as docs/environments.md gets it: images made from this machine's Python
lack libraries that the other one needs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path


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
    """Download wheels of packages, without what these need. `wanted`: arguments of pip."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "-d", str(folder)]
    subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", *wanted], check=True)
