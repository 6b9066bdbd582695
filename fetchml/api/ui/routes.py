"""The page for people, served at `/ui/`: its files, under a policy that lets nothing else run."""

from aiohttp import web

from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.ui.files import PageFile, PageFiles
from fetchml.errors import NotFound

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
    # No text becomes HTML, whichever way it takes.
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
        if found := self._files.find(path):
            return self._send(request, found, _FOREVER if path.startswith(ASSETS) else _ASK_AGAIN)
        if path.startswith(ASSETS):
            raise NotFound("The page has no such file: reload it, the server may have been updated")
        return await self.index(request)

    def _index(self) -> PageFile:
        found = self._files.index()
        if found is None:
            raise NotFound("The page is missing in this source tree: run 'make web'")
        return found

    def _send(self, request: RestRequest, file: PageFile, caching: str) -> web.StreamResponse:
        given = request.http.headers
        encoding, content = file.variant(given.get("Accept-Encoding", ""))
        etag = file.etag if encoding is None else f'{file.etag[:-1]}-{encoding}"'
        headers = {**HEADERS, "Cache-Control": caching, "ETag": etag}
        if etag in (tag.strip() for tag in given.get("If-None-Match", "").split(",")):
            return web.Response(status=304, headers=request.headers(headers))
        headers["Content-Type"] = file.content_type
        if encoding is not None:
            headers["Content-Encoding"] = encoding
        return request.raw(content, headers)
