"""Makes the Debian package of an executable: `python -m build.debian.package EXECUTABLE FOLDER`.

It has the executable, a systemd unit, the service's user, and /etc/fetchml/fetchml.toml, which
lists every setting. `maintainer/` has the scripts of its installation and removal.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from itertools import groupby
from pathlib import Path

from fetchml import __version__
from fetchml.cli.service_commands import PACKAGE_CONFIG, PACKAGE_UNIT
from fetchml.config.data_dir import SERVICE_DATA
from fetchml.config.settings import Setting, all_settings
from fetchml.ops.systemd_unit import USER, unit

PROGRAM = Path("/usr/bin/fetchml")
SCRIPTS = Path(__file__).with_name("maintainer")
CONTROL = """\
Package: fetchml
Version: {version}
Architecture: {architecture}
Maintainer: FetchML maintainers <maintainers@fetchml.invalid>
Installed-Size: {kilobytes}
Depends: systemd | systemd-standalone-sysusers, libc6 (>= 2.31)
Recommends: docker.io | docker-ce
Section: science
Priority: optional
Description: job server for machine-learning training
 Turns a machine with GPUs into a job service: tasks run in containers, with
 REST, gRPC, a web page and a command line.
"""
USERS = f"""\
u {USER} - "FetchML job server" {SERVICE_DATA} /usr/sbin/nologin
m {USER} docker
"""


def sample_settings() -> str:
    """Return a settings file with every setting and its default as a comment."""
    lines = [
        "# The settings of the FetchML server. After a change: systemctl restart fetchml",
        "# Lines such as #http = … have the defaults. The data is in /var/lib/fetchml.",
    ]
    settings = (each for each in all_settings() if str(each) != "data_dir")
    for table, entries in groupby(settings, lambda each: each.table):
        lines += ["", f"[{table}]"] if table else [""]
        for each in entries:
            lines += ["", *_commented(each)]
    return "\n".join(lines) + "\n"


def _commented(setting: Setting) -> list[str]:
    about = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", setting.about)  # a link
    value = setting.default.strip("`")
    if value == setting.default:  # In words: it depends on the host.
        about, value = f"{about} Default: {value}.", "…"
    lines = textwrap.wrap(about, 90, initial_indent="# ", subsequent_indent="# ")
    return lines if setting.is_tables else [*lines, f"#{setting.name} = {value}"]


def build(executable: Path, folder: Path, version: str = __version__) -> Path:
    """Make the package in `folder`, and return its file. Raises CalledProcessError."""
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, check=True, text=True
    ).stdout.strip()
    package = folder / f"fetchml_{version}_{architecture}.deb"
    options = ["--data-dir", str(SERVICE_DATA), "--config", str(PACKAGE_CONFIG)]
    command = [str(PROGRAM), "serve", *options]
    text = unit(command, data_dir=SERVICE_DATA, docker=True, docker_group=True)
    # Above that it says that `fetchml service install` made it.
    text = text[text.index("[Unit]") :]
    files = {
        PACKAGE_UNIT: text,
        Path("/usr/lib/sysusers.d/fetchml.conf"): USERS,
        PACKAGE_CONFIG: sample_settings(),
        Path("/DEBIAN/conffiles"): f"{PACKAGE_CONFIG}\n",
        Path("/DEBIAN/control"): CONTROL.format(
            version=version,
            architecture=architecture,
            kilobytes=executable.stat().st_size >> 10,
        ),
    }
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        root.chmod(0o755)
        for path, content in files.items():
            placed = root / path.relative_to("/")
            placed.parent.mkdir(parents=True, exist_ok=True)
            placed.write_text(content)
        placed = root / PROGRAM.relative_to("/")
        placed.parent.mkdir(parents=True)
        shutil.copy(executable, placed)
        for script in SCRIPTS.iterdir():
            shutil.copy(script, root / "DEBIAN")
        # Debian 11 reads no zstd. A higher level takes minutes for a tenth of the size.
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", root, package], check=True
        )
    return package


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
