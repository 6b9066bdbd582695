"""The log on stderr: standard logging, as text or JSON, without keys."""

import datetime
import json
import logging
import re
import sys
from contextvars import ContextVar
from typing import Any, Literal, TextIO

from fetchml.core.requests import text

current_trace: ContextVar[str | None] = ContextVar("current_trace", default=None)
"""Trace id of the current request; the transports set it."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_KEY = re.compile(r"fm[lt]_[A-Za-z0-9_-]{20,}")
"""API keys, and tokens of tasks."""
MAX_LINE_CHARACTERS = 8_000
"""Longer entries are cut."""
MAX_TRACEBACK_CHARACTERS = 32_000
_SHORTEST_SECRET = 16
"""Shorter values are rejected as keys, and might be common words."""

_secrets: list[re.Pattern[str]] = []
"""Secrets that don't look like a key."""


def keep_out(secret: str) -> None:
    """Make `redact` remove this secret too: a key that its owner chose may look like anything.

    Also where a URL, JSON or a log line escapes some of its characters.
    """
    if len(secret) >= _SHORTEST_SECRET:
        _secrets.append(re.compile("".join(map(_plain_or_escaped, secret))))


def redact(shown: str) -> str:
    """Return the text without API keys and registered secrets."""
    # Secrets first: a part of one may look like a key, and the rest would stay.
    for secret in _secrets:
        shown = secret.sub("[redacted]", shown)
    return _KEY.sub("fml_[redacted]", shown)


def _plain_or_escaped(character: str) -> str:
    in_url = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    # JSON of a repr() of a string has three backslashes before a quote, and one more each time.
    return rf"(?:\\{{0,7}}{re.escape(character)}|(?i:{in_url}))"


def set_up(form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send everything from INFO up to `stream` (stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Requests are counted by metrics.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # It warns of unknown protocols, and one of them may be a key.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    # It logs four tracebacks for one invalid metadata value, which may be a key.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_bad_metadata)


def _is_no_bad_metadata(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding on")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the trace id and the caller's `extra` fields."""
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if trace_id := current_trace.get():
        fields.setdefault("trace_id", trace_id)
    return fields


def _time(record: logging.LogRecord) -> str:
    at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """`TIME LEVEL MESSAGE (name=value …)`, and the traceback below, indented.

    An entry is one line, and a line of a traceback begins with blanks, whatever a client or a task
    put into it: entries can't be forged.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname.lower():7} {record.getMessage()}"
        if fields := _fields(record):
            line += f" ({' '.join(f'{name}={value}' for name, value in fields.items())})"
        # Redact before cutting: a part of a key would not be recognized.
        line = text.shown(redact(line), MAX_LINE_CHARACTERS)
        if record.exc_info:
            line += "".join(f"\n    {each}" for each in self._traceback(record.exc_info))
        return line

    def _traceback(self, exc_info: Any) -> list[str]:
        lines = redact(self.formatException(exc_info))[:MAX_TRACEBACK_CHARACTERS].splitlines()
        return [text.shown(line, MAX_LINE_CHARACTERS) for line in lines]


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `extra` fields are members of their own."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        # Everything but ASCII is escaped. Escaped lone surrogates are no JSON for many readers.
        return redact(json.dumps({name: _valid(value) for name, value in entry.items()}))


def _valid(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    shown = text.valid(str(value))
    return redact(shown)[:MAX_TRACEBACK_CHARACTERS]
