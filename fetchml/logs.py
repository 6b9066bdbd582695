"""The log on stderr: standard logging, as text or JSON, without keys."""

import datetime
import json
import logging
import re
import sys
from contextvars import ContextVar
from typing import Literal, TextIO

current_trace: ContextVar[str | None] = ContextVar("current_trace", default=None)
"""Trace id of the request that is being answered; the transports set it."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_KEY = re.compile(r"fml_[A-Za-z0-9_-]{20,}")


def redact(text: str) -> str:
    """The text with all that looks like an API key taken out."""
    return _KEY.sub("fml_[redacted]", text)


def set_up(form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send everything from INFO up to `stream` (stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # One line for each request is what metrics are for.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # It warns of protocols that nobody here speaks, and one of them may be a key.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


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
    """`TIME LEVEL MESSAGE (name=value …)`, and the traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname.lower():7} {record.getMessage()}"
        if fields := _fields(record):
            line += f" ({' '.join(f'{name}={value}' for name, value in fields.items())})"
        # One entry is one line, whatever a client put into it.
        line = line.encode("unicode_escape").decode("ascii") if not line.isprintable() else line
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return redact(line)


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
        return redact(json.dumps(entry, default=str))
