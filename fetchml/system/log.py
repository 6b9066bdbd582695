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
"""Trace id of the request that is being answered; the transports set it."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_KEY = re.compile(r"fml_[A-Za-z0-9_-]{20,}")
MAX_LINE_CHARACTERS = 8_000
"""Of an entry; what is longer is cut."""
MAX_TRACEBACK_CHARACTERS = 32_000
_SHORTEST_SECRET = 16
"""What is shorter is refused as a key, and could be a word that logs are full of."""

_secrets: list[re.Pattern[str]] = []
"""Those that don't look like one."""


def keep_out(secret: str) -> None:
    """From now on `redact` takes this out too: a key that its owner chose may look like anything.

    Also where a URL, JSON or a log line has some of its characters escaped.
    """
    if len(secret) >= _SHORTEST_SECRET:
        _secrets.append(re.compile("".join(map(_plain_or_escaped, secret))))


def redact(shown: str) -> str:
    """The text with all that looks like an API key taken out, and what is to be kept out."""
    # First: a part of it may look like a key, and the rest would stay.
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
    # One line for each request is what metrics are for.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # It warns of protocols that nobody here speaks, and one of them may be a key.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    # Four entries with tracebacks for one value of a call's metadata, key or no key.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_bad_metadata)


def _is_no_bad_metadata(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding on")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The trace id, and what the caller gave as `extra`."""
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if trace_id := current_trace.get():
        fields.setdefault("trace_id", trace_id)
    return fields


def _time(record: logging.LogRecord) -> str:
    at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """`TIME LEVEL MESSAGE (name=value …)`, and the traceback below, indented.

    An entry is one line and a line of a traceback begins with blanks, whatever a client or a task
    put into it: nobody can forge an entry.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname.lower():7} {record.getMessage()}"
        if fields := _fields(record):
            line += f" ({' '.join(f'{name}={value}' for name, value in fields.items())})"
        # Redacted before it is cut: a part of a key would not be found.
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
        # All but ASCII is escaped. Lone surrogates would be too, and are no JSON for many readers.
        return redact(json.dumps({name: _valid(value) for name, value in entry.items()}))


def _valid(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    shown = text.valid(str(value))
    return redact(shown)[:MAX_TRACEBACK_CHARACTERS]
