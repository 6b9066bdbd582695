"""Tasks whose environment has the package `tiny`."""

import base64
import hashlib
import zipfile
from pathlib import Path
from typing import Any

from tests.support.archives import archive
from tests.support.program import Server
from tests.support.waiting import SECONDS, until

SHOW = b"import os, sys, tiny; print(tiny.__file__, tiny.WHAT, os.environ['VIRTUAL_ENV'])"
WANTED = {"requirements": "requirements.txt"}


def wheel(folder: Path, version: str, code: str = "") -> None:
    """Make a package `tiny` that prints its version."""
    folder.mkdir(exist_ok=True)
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"WHAT = 'tiny {version}'\n{code}",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = []
    with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record.append(f"{name},sha256={digest.decode().rstrip('=')},{len(text)}")
        packed.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,\n"]))


async def upload(server: Server, **files: bytes) -> str:
    body = archive({name.replace("_", "."): data for name, data in files.items()})
    done = await server.rest.ask("PUT", "/v1/snapshots", body)
    return str(done.json["id"])


async def submit(server: Server, snapshot: str, **fields: Any) -> str:
    fields = {"environment": WANTED, "command": ["python", "train.py"], **fields}
    done = await server.rest.submit({"job_name": "a", "snapshot_id": snapshot, **fields})
    assert done.status == 201, done.json
    return str(done.json["id"])


BUILD_SECONDS = 5 * SECONDS
"""A build is work, not only a wait: two cores that are busy take minutes for it."""


async def ended(server: Server, task_id: str) -> dict[str, Any]:
    return await until(
        lambda: server.shown(task_id),
        lambda task: task["status"] in ("completed", "failed"),
        BUILD_SECONDS,
    )


def pinned(version: str) -> bytes:
    return f"--no-index\ntiny=={version}\n".encode()
