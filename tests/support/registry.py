"""A registry of one image on 127.0.0.1, which engines take without TLS: just enough for a pull."""

import base64
import gzip
import hashlib
import io
import json
import os
import platform
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER_BYTES = 3_000_000


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _layer() -> bytes:
    """A tar of one file that can't be compressed, so that the pull has something to count."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("noise")
        member.size = LAYER_BYTES
        tar.addfile(member, io.BytesIO(os.urandom(LAYER_BYTES)))
    return archive.getvalue()


def _image() -> dict[str, bytes]:
    """What the registry holds, by the end of the path."""
    layer = _layer()
    packed = gzip.compress(layer, compresslevel=1)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    rootfs = {"type": "layers", "diff_ids": [_digest(layer)]}
    config = json.dumps({"architecture": machine, "os": "linux", "rootfs": rootfs}).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(config),
                "digest": _digest(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "size": len(packed),
                    "digest": _digest(packed),
                }
            ],
        }
    ).encode()
    blobs = {_digest(data): data for data in (config, packed, manifest)}
    return blobs | {"1": manifest}


@contextmanager
def registry(
    slowly: threading.Event | None = None,
    *,
    login: str | None = None,
    asked: list[str] | None = None,
) -> Iterator[str]:
    """Give the address. It holds any image with the tag `1`; all others are not there.

    `slowly`: the layer's second half is sent only when this is set. `login`: the `user:password`
    without which it gives nothing. `asked`: takes the Authorization of each request, or "".
    """
    content = _image()
    wanted = f"Basic {base64.b64encode(login.encode()).decode()}" if login else None

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            shown = self.headers.get("Authorization", "")
            if asked is not None:
                asked.append(shown)
            if wanted not in (None, shown):
                denied = {"errors": [{"code": "UNAUTHORIZED", "message": "unauthorized"}]}
                self._answer(401, json.dumps(denied).encode(), "application/json")
            elif self.path == "/v2/":
                self._answer(200, b"{}", "application/json")
            elif name in content:
                self._answer(200, content[name], MANIFEST)
            else:
                unknown = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
                self._answer(404, json.dumps(unknown).encode(), "application/json")

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.end_headers()
            if self.command == "HEAD":
                return
            half = len(body) // 2
            self.wfile.write(body[:half])
            if slowly is not None and half > LAYER_BYTES // 4:
                slowly.wait(30)
            self.wfile.write(body[half:])

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
