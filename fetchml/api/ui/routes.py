"""The page for people, served at `/ui/`: its files, under a policy that forbids all other
scripts."""

import hashlib
import mimetypes
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.errors import NotFound

FILES = Path(__file__).with_name("files")
INDEX = "index.html"
ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""Compressed variants, the best first: the name in `Content-Encoding` → the file's suffix."""

_TYPES = {".js": "text/javascript", ".woff2": "font/woff2", ".svg": "image/svg+xml"}
"""Types that the host's own table may have wrong."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page, with its compressed variants."""

    content: bytes
    content_type: str
    etag: str
    variants: dict[str, bytes] = field(default_factory=dict)
    """Content encoding → the compressed file."""

    def variant(self, accepted: str) -> tuple[str | None, bytes]:
        """Return the encoding to use, `None` for none, and the bytes to send.

        `accepted`: the value of `Accept-Encoding`."""
        parts = [part for part in accepted.lower().split(",") if _is_wanted(part)]
        named = {part.partition(";")[0].strip() for part in parts}
        for encoding, content in self.variants.items():
            if encoding in named:
                return encoding, content
        return None, self.content


def _is_wanted(part: str) -> bool:
    """Return whether one part of `Accept-Encoding` does not refuse its encoding (`;q=0`)."""
    weight = part.partition(";")[2].replace(" ", "").removeprefix("q=")
    return not weight or weight.strip("0.") != ""


class PageFiles:
    """All files of the page, by their path below `/ui/`.

    They are read again after index.html was built again (`make web-watch`). An installed server
    never does more than read the time of that one file.
    """

    def __init__(self, folder: Path = FILES) -> None:
        self._folder = folder
        self._built_ns: int | None = None
        self._files: dict[str, PageFile] = {}
        self._refresh()

    def index(self) -> PageFile | None:
        """Return index.html; `None` if the page was not built."""
        self._refresh()
        return self._files.get(INDEX)

    def find(self, path: str) -> PageFile | None:
        """Return the file at a path below `/ui/`; `None` if there is none."""
        return self._files.get(path)

    def _refresh(self) -> None:
        try:
            built_ns = (self._folder / INDEX).stat().st_mtime_ns
        except FileNotFoundError:
            return  # Not built, or just being built: what is in memory stays.
        if built_ns != self._built_ns:
            self._files = _read(self._folder)
            self._built_ns = built_ns


def _read(folder: Path) -> dict[str, PageFile]:
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    return {
        name: PageFile(
            content,
            _type_of(name),
            f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            {
                encoding: contents[name + suffix]
                for encoding, suffix in ENCODINGS.items()
                if name + suffix in contents
            },
        )
        for name, content in contents.items()
        if not name.endswith(tuple(ENCODINGS.values()))
    }


def _type_of(name: str) -> str:
    suffix = Path(name).suffix
    content_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{content_type}; charset=utf-8" if content_type.startswith("text/") else content_type


_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    # Previews of outputs are fetched with the session and shown from memory.
    "img-src 'self' blob:",
    "media-src 'self' blob:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    # No text ever becomes HTML.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ASSETS = "assets/"
"""The folder of files whose names hold a hash of their content."""

_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


class PageOperations:
    def __init__(self) -> None:
        self._files = PageFiles()

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/", self.to_page, keyless=True),
            Route("GET", "/ui", self.to_page, keyless=True),
            Route("GET", "/ui/", self.index, keyless=True),
            Route("GET", "/ui/{path...}", self.file, keyless=True),
        ]

    async def to_page(self, request: RestRequest) -> web.StreamResponse:
        return web.Response(status=302, headers=request.headers({"Location": "/ui/"}))

    async def index(self, request: RestRequest) -> web.StreamResponse:
        return self._send(request, self._index(), _ASK_AGAIN)

    async def file(self, request: RestRequest, path: str) -> web.StreamResponse:
        """Send a file. Any other path is one of the page's own views, and gets index.html."""
        if file := self._files.find(path):
            return self._send(request, file, _FOREVER if path.startswith(ASSETS) else _ASK_AGAIN)
        if path.startswith(ASSETS):
            raise NotFound("File not found: reload the page, the server may have been updated")
        return await self.index(request)

    def _index(self) -> PageFile:
        index = self._files.index()
        if index is None:
            raise NotFound(
                "The page was not built: run 'make web' in the source tree, or install a release"
            )
        return index

    def _send(self, request: RestRequest, file: PageFile, caching: str) -> web.StreamResponse:
        request_headers = request.http.headers
        encoding, content = file.variant(request_headers.get("Accept-Encoding", ""))
        etag = file.etag if encoding is None else f'{file.etag[:-1]}-{encoding}"'
        headers = {**HEADERS, "Cache-Control": caching, "ETag": etag}
        if etag in (tag.strip() for tag in request_headers.get("If-None-Match", "").split(",")):
            return web.Response(status=304, headers=request.headers(headers))
        headers["Content-Type"] = file.content_type
        if encoding is not None:
            headers["Content-Encoding"] = encoding
        return request.raw(content, headers)
