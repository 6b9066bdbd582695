"""A package index that only a name and a password open, in a thread."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER, PASSWORD = "reader", "index-pass-word"
_OPENED_BY = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, index: "PrivateIndex", *arguments: object) -> None:
        self._index = index
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        is_open = self.headers.get("Authorization") == _OPENED_BY
        self._index.asked.append((self.path, is_open))
        if not is_open:
            self._answer(HTTPStatus.UNAUTHORIZED, b"", "text/plain")
            return
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/files/") and name in self._index.files():
            content = (self._index.folder / name).read_bytes()
            self._answer(HTTPStatus.OK, content, "application/octet-stream")
        elif self.path == "/simple/tiny/":
            links = "".join(f'<a href="/files/{each}">{each}</a>' for each in self._index.files())
            page = f"<!DOCTYPE html><html><body>{links}</body></html>"
            self._answer(HTTPStatus.OK, page.encode(), "text/html")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"", "text/plain")

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - its name

    def log_message(self, *_: object) -> None:
        pass


class PrivateIndex:
    def __init__(self, folder: Path) -> None:
        """`folder`: the wheels of the package `tiny`."""
        self.folder = folder
        self.asked: list[tuple[str, bool]] = []
        """Path of each request, and whether it had the right name and password."""
        self.port = 0

    def files(self) -> list[str]:
        return sorted(each.name for each in self.folder.iterdir())

    def url(self, host: str, password: str = PASSWORD) -> str:
        return f"http://{USER}:{password}@{host}:{self.port}/simple/"


@contextmanager
def private_index(folder: Path) -> Iterator[PrivateIndex]:
    """Listen on all addresses of this machine, since builds in containers come by a bridge."""
    index = PrivateIndex(folder)
    with ThreadingHTTPServer(("0.0.0.0", 0), partial(_Handler, index)) as server:
        index.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
