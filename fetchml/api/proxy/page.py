"""Pages that FetchML itself serves for a Jupyter service: its status, and the stop notice."""

import re
from html import escape
from pathlib import Path

from fetchml.core.jupyter import ServiceStatus
from fetchml.views import JupyterState

NOTICE_JS = Path(__file__).with_name("notice.js")
RELOAD_SECONDS = 2
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # The URL may hold the token.
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'self'",
}

_PAGES = re.compile(r"/(lab|doc|tree|notebooks|edit|consoles|terminals)(/.*)?")
"""Paths of Jupyter's own pages, as opposed to users' files that a browser displays."""
_HEAD_ENDS = re.compile(rb"</head\s*>", re.IGNORECASE)

_START_AGAIN = "Start it again with “fetchml jupyter start”: its workspace is kept."


def sentence(state: JupyterState) -> str:
    """Return the reason why Jupyter itself does not answer."""
    why = state.why.strip().rstrip(".")
    match state.status:
        case ServiceStatus.STOPPED | ServiceStatus.ERROR:
            return f"This Jupyter service has ended: {why or 'it was stopped'}. {_START_AGAIN}"
        case ServiceStatus.STOPPING:
            return f"This Jupyter service is being stopped: {why or 'as requested'}."
        case _:
            return f"This Jupyter service is starting: {why or 'it will be ready in a moment'}."


def has_ended(state: JupyterState) -> bool:
    return state.status in (ServiceStatus.STOPPED, ServiceStatus.ERROR)


def page(state: JupyterState) -> bytes:
    """Return the status page in HTML, which reloads itself until the service has ended."""
    reload = "" if has_ended(state) else f'<meta http-equiv="refresh" content="{RELOAD_SECONDS}">'
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
{reload}
<title>Jupyter: {escape(state.status)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 20vh auto; max-width: 34em; padding: 0 1em }}
</style>
</head>
<body>
<h1>Jupyter: {escape(state.status)}</h1>
<p>{escape(sentence(state))}</p>
</body>
</html>
""".encode("utf-8", "replace")


def may_carry_notice(path: str) -> bool:
    """Return whether the page at this path, relative to the service's, may carry the notice."""
    return _PAGES.fullmatch(path) is not None


def with_notice(html: bytes, base_path: str) -> bytes:
    """Insert the notice's script into the page's head."""
    script = f'<script src="{base_path}.fetchml/notice.js" defer></script>'.encode()
    return _HEAD_ENDS.sub(lambda end: script + end[0], html, count=1)
