"""Log lines: one line each, with fields and trace id, without keys."""

import io
import json
import logging
from urllib.parse import quote

import pytest

from fetchml.auth.keyring import new_secret
from fetchml.system import log
from fetchml.system.log import JsonFormatter, TextFormatter, current_trace


def line(formatter: logging.Formatter, message: str, **extra: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger("fetchml.test")
    logger.addHandler(handler)
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception(message, extra=extra)
    finally:
        logger.removeHandler(handler)
    return stream.getvalue()


def test_json_has_fields_trace_and_traceback() -> None:
    token = current_trace.set("0af76519-16cd-43dd-8448-eb211c80319c")
    try:
        entry = json.loads(
            line(JsonFormatter(), "it\nbroke \ud800", task_id="t1", error=ValueError("x"))
        )
    finally:
        current_trace.reset(token)
    assert entry["level"] == "error"
    assert entry["logger"] == "fetchml.test"
    assert entry["message"] == "it\nbroke \N{REPLACEMENT CHARACTER}"
    assert entry["task_id"] == "t1"
    assert entry["error"] == "x"
    assert entry["trace_id"] == "0af76519-16cd-43dd-8448-eb211c80319c"
    assert "ValueError: inside" in entry["exception"]
    assert entry["time"].endswith("Z")


def test_text_is_one_line_and_then_the_traceback() -> None:
    first, *rest = line(TextFormatter(), "a\nb", task_id="t1").splitlines()
    assert r"error   a\nb (task_id=t1)" in first
    assert rest[0].startswith("    Traceback")


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_keys_are_redacted(formatter: logging.Formatter) -> None:
    secret = new_secret()
    text = line(formatter, f"got {secret}", key=secret)
    assert secret not in text
    assert text.count("fml_[redacted]") == 2


CHOSEN = r"""own/key\"it's"+100%_fml_0123456789abcdefghij!"""


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
@pytest.mark.parametrize(
    "shown",
    [CHOSEN, repr(CHOSEN), json.dumps(CHOSEN), quote(CHOSEN), quote(CHOSEN, safe="").lower()],
)
def test_chosen_key_is_redacted(
    formatter: logging.Formatter, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_secrets", [])
    log.keep_out(CHOSEN)
    for message in (f"GET /v1/tasks/{shown}: no such task", f"two\nlines {shown}"):
        text = line(formatter, message, path=shown, error=ValueError(shown))
        assert text.count("[redacted]") == 3
        assert "abcdefghij" not in text
        assert "own" not in text


def test_short_secrets_are_not_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_secrets", [])
    log.keep_out("info")
    assert log.redact("some info") == "some info"
