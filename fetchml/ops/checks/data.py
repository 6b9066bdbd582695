"""The data directory, the disk, the ports and the certificate of the server."""

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fetchml
from fetchml.config.address import Address
from fetchml.config.settings import Settings
from fetchml.config.tls import BadCertificate, configured_certificate
from fetchml.core.requests.volumes import Volume, overlap_fault, path_fault
from fetchml.files.layout import ADMIN_KEY
from fetchml.ops import pyinstaller
from fetchml.server.volumes import datasets_root, own_folders
from fetchml.views import Finding


def data_dir(data_dir: Path) -> Finding:
    name = "data directory"
    folder = _nearest(data_dir)
    if not folder.is_dir():
        return Finding(name, f"{folder} is not a folder", "Choose another --data-dir.")
    if not os.access(folder, os.W_OK | os.X_OK):
        fix = (
            f"Run as its owner, make it yours (chown {user_name()} {folder}), or choose --data-dir."
        )
        return Finding(name, f"{folder} can't be written by {user_name()}", fix)
    if folder != data_dir:
        return Finding(name, f"{data_dir} will be made at the first start")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        return Finding(name, f"{data_dir} is open to others ({mode:o})", f"chmod 700 {data_dir}")
    return Finding(name, str(data_dir))


def admin_key(data_dir: Path) -> Finding:
    file = data_dir / ADMIN_KEY
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return Finding("admin key", "none is kept here")
    if mode & 0o077:
        return Finding(
            "admin key", f"{file} is readable for others ({mode:o})", f"chmod 600 {file}"
        )
    return Finding("admin key", f"{file}, for its owner only")


def disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_nearest(settings.data_dir)).free
    least = settings.history.min_free_mb
    finding = f"{free >> 20} MiB free" if free < 10 << 30 else f"{free >> 30} GiB free"
    if free >> 20 < least:
        fix = f"Free some space: below {least} MiB ([history] min_free_mb) no task is accepted."
        return Finding("disk", finding, fix)
    return Finding("disk", finding)


def port(name: str, address: Address, *, running: bool) -> Finding:
    try:
        address.probe()
    except OSError as error:
        if running:
            return Finding(name, f"{address} is in use; a server runs on this data directory")
        fix = f"Stop what uses it (ss -ltnp), or choose another (--{name.partition(' ')[0]})."
        return Finding(name, f"{address}: {error.strerror}", fix)
    return Finding(name, f"{address} is free")


def grpc_network(address: Address) -> Finding:
    name = "grpc network"
    if address.is_loopback:
        return Finding(name, f"{address}: this host only")
    return Finding(
        name,
        f"{address} can be reached from other hosts",
        advice="If strangers can reach it, put Envoy in front (docs/envoy.md) and listen on "
        "127.0.0.1: gRPC reads more of a client without a key than the server can limit.",
    )


def tls(settings: Settings) -> Finding:
    try:
        certificate = configured_certificate(settings.server)
    except BadCertificate as error:
        return Finding("tls", str(error), "Name a certificate and its private key, both in PEM.")
    if certificate is None:
        return Finding("tls", "off: keys travel unencrypted")
    return Finding("tls", f"on, with {settings.server.tls_cert}")


def clock(data_dir: Path) -> Finding:
    """Compare with files that cannot be of the future: this program, and what a server wrote."""
    program = Path(sys.executable if pyinstaller.is_frozen() else fetchml.__file__)
    written = [program, *data_dir.glob("store/*")]
    newest = max(file.stat().st_mtime for file in written)
    behind = newest - time.time()
    if behind > 1:
        fix = "Set it: timedatectl set-ntp true. Until then times are wrong."
        return Finding("clock", f"behind by at least {behind:.0f} s", fix)
    return Finding("clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def _nearest(path: Path) -> Path:
    """Return the folder itself, or the existing one in which it would be made."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def user_name() -> str:
    return os.environ.get("USER") or str(os.geteuid())


def volumes(settings: Settings) -> Iterator[Finding]:
    """Whether each volume of the settings is a folder that may be one."""
    own = own_folders(settings)
    known = {
        name: Volume(str(volume.path.resolve()), volume.mode == "ro")
        for name, volume in settings.volumes.items()
    }
    if fault := overlap_fault(known, datasets_root(settings)):
        yield Finding("volumes", "two folders lie in one another", f"{fault}.")
    for name, volume in settings.volumes.items():
        path = volume.path.resolve()
        shown = f"volume {name}"
        setting = f"[volumes.{name}] path"
        if fault := path_fault(str(path), own):
            yield Finding(shown, fault, f"Name another folder in {setting}.")
        elif not path.is_dir():
            fix = f"Create or mount it, or change {setting}: its tasks can't start."
            yield Finding(shown, f"{path} is not a folder", fix)
        else:
            users = ", ".join(volume.users) or "every user"
            most = f", up to {volume.max_gb} GiB" if volume.max_gb else ""
            yield Finding(shown, f"{path} ({volume.mode}), for {users}{most}")
