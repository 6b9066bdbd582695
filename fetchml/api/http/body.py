"""Reading request bodies: JSON objects, and large uploads in pieces."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec
from aiohttp import HttpVersion11, web

from fetchml.api.http.errors import BadlyEncodedBody, BodyTimeout, BodyTooLarge
from fetchml.api.http.request import RestRequest
from fetchml.errors import BadRequest, FieldViolation, ValidationFailed
from fetchml.system.pacing import turn_for

MAX_BYTES = 1024 * 1024
MAX_VALUES = 30_000
"""JSON values in one body. The rules of all fields together allow fewer."""
UNCOUNTED_BYTES = 32 * 1024
"""A body up to this size cannot hold more than `MAX_VALUES` values."""

_decode = msgspec.json.Decoder().decode

T = TypeVar("T")


async def read_object(request: RestRequest, timeout_seconds: float) -> dict[str, object]:
    """Read the request's body as a JSON object (contract reading 4).

    Raises BadRequest if the body is not JSON, ValidationFailed if it is not an object, and
    TooManyBytes or Overloaded if it does not fit into the memory limits.
    """
    body = await read_json(request, timeout_seconds)
    try:
        value = decoded(body, _decode)
    except msgspec.ValidationError:
        rule = "must not hold a number that is too large to be exact"
        raise ValidationFailed([FieldViolation("body", rule)]) from None
    if not isinstance(value, dict):
        raise ValidationFailed([FieldViolation("body", "must be a JSON object")])
    return value


async def read_json(request: RestRequest, timeout_seconds: float) -> bytes:
    """Read a JSON body of bounded size for `decoded`.

    Raises BadRequest, and TooManyBytes or Overloaded if it does not fit into the memory limits.
    """
    _check_content_type(request.http.headers.get("Content-Type"))
    content = request.http.content
    try:
        # The body of most requests has arrived together with the headers.
        whole = content.is_eof()
        body = content.read_nowait() if whole else await _receive(request, timeout_seconds)
    except web.RequestPayloadError:
        raise BadlyEncodedBody from None
    if len(body) > MAX_BYTES:
        raise BodyTooLarge(MAX_BYTES)
    if len(body) > UNCOUNTED_BYTES:
        await turn_for(len(body))
        if _has_too_many_values(body):
            raise BadRequest(f"The body holds more than {MAX_VALUES} values")
    return body


def decoded(body: bytes, decode: Callable[[bytes], T]) -> T:
    """Decode a body of `read_json`. Raises BadRequest if it is not JSON, and
    msgspec.ValidationError."""
    try:
        return decode(body)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        raise BadRequest("The body is nested too deeply") from None
    except ValueError as error:  # msgspec.DecodeError, UnicodeDecodeError
        raise BadRequest(f"The body is not JSON in UTF-8: {error}" if body else _EMPTY) from None


def _has_too_many_values(body: bytes) -> bool:
    """Return whether decoding would create so many objects that it delays other requests."""
    if sum(map(body.count, (b",", b"[", b"{"))) <= MAX_VALUES:
        return False
    # Most of them may be in strings. Once escapes are removed, every second part between quotes is
    # a string.
    pieces = body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"', 2 * MAX_VALUES)
    outside = b"".join(pieces[::2])
    return sum(map(outside.count, (b",", b"[", b"{", b'"'))) > MAX_VALUES


_EMPTY = "The body is empty: send a JSON object"


def _check_content_type(content_type: str | None) -> None:
    if content_type == "application/json":
        return
    kind, *parameters = (content_type or "").lower().replace(" ", "").split(";")
    charsets = {"charset=utf-8", 'charset="utf-8"', ""}
    if kind != "application/json" or not charsets.issuperset(parameters):
        raise BadRequest("Content-Type: must be application/json, in UTF-8")


async def read_pieces(
    request: web.BaseRequest, *, max_bytes: int, stall_seconds: float
) -> AsyncIterator[bytes]:
    """Yield a large body of any content type as it arrives.

    Raises BodyTooLarge beyond `max_bytes`, BodyTimeout if nothing arrives for `stall_seconds`, and
    BadRequest if the body is malformed.
    """
    if (request.content_length or 0) > max_bytes:
        raise BodyTooLarge(max_bytes)
    await _send_continue(request)
    size = 0
    while True:
        try:
            async with asyncio.timeout(stall_seconds):
                piece = await request.content.readany()
        except TimeoutError:
            raise BodyTimeout(stall_seconds) from None
        except web.RequestPayloadError:
            raise BadlyEncodedBody from None
        size += len(piece)
        if size > max_bytes:
            raise BodyTooLarge(max_bytes)
        if not piece:
            return
        yield piece


async def _send_continue(request: web.BaseRequest) -> None:
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.version >= HttpVersion11:  # Others would take it for the reply.
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # The reply itself has not begun.


async def _receive(request: RestRequest, timeout_seconds: float) -> bytes:
    http = request.http
    if (http.content_length or 0) > MAX_BYTES:
        raise BodyTooLarge(MAX_BYTES)
    await _send_continue(http)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_seconds):
            while chunk := await http.content.readany():
                if len(body) + len(chunk) > MAX_BYTES:
                    raise BodyTooLarge(MAX_BYTES)
                request.hold_body(len(chunk))
                body += chunk
    except TimeoutError:
        raise BodyTimeout(timeout_seconds) from None
    return bytes(body)
