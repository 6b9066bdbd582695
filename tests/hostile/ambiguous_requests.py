"""Requests of any bytes, and those whose end or target two readers may see differently."""

from tests.hostile.http_server import KEY

BODY = b'{"job_name": "smuggled"}'
SMUGGLED = (
    f"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nConnection: close\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY
"""Stands behind each request of the tables. A client without a key might have put it there."""
LAST_CHUNK = b"0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def get(*lines: bytes, line: bytes = b"GET /health HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *lines, b"", b""])


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return get(*lines, line=b"POST /v1/tasks HTTP/1.1") + body


def keyed(*lines: bytes, body: bytes = b"", line: bytes = b"POST /v1/tasks HTTP/1.1") -> bytes:
    own = [b"X-API-Key: " + KEY.encode(), b"Content-Type: application/json"]
    return get(*own, *lines, line=line) + body


def chunked(body: bytes) -> bytes:
    return post(CHUNKED, body=body)


def lengths() -> dict[str, bytes]:
    """By the value of Content-Length."""
    values = [
        b"+5", b"-5", b"5, 5", b"5,5", b"5 5", b"0x5", b"0_5", b"5.0", b"5e0", b"\xd9\xa5", b"",
        b"18446744073709551615", b"18446744073709551616", b"9" * 100, b"0" * 40 + b"5", b"five",
        b'"5"', b"5;", b"5\x0b",
    ]  # fmt: skip
    return {
        f"length {value!r}": post(b"Content-Length: " + value, body=b"hello") for value in values
    }


def encodings() -> dict[str, bytes]:
    """By the value of Transfer-Encoding."""
    values = [
        b"chunked, chunked", b"chunked,", b",chunked", b"gzip, chunked", b"chunked, gzip",
        b"identity, chunked", b"chunked, identity", b"identity", b"xchunked", b"chunkedx",
        b"x chunked", b"chunked x", b"chunked;q=1", b'"chunked"', b"'chunked'", b"chunked\t",
        b"\x0bchunked", b"chunked\x0b", b"\x00chunked", b"chun\x0cked", b"chunked\xa0", b"",
        "chun\u212aed".encode(),
    ]  # fmt: skip
    return {
        f"encoding {value!r}": post(b"Transfer-Encoding: " + value, body=LAST_CHUNK)
        for value in values
    }


def chunks() -> dict[str, bytes]:
    """By the body, which any of two readers might take for the chunk `ab`."""
    bodies = [
        b"0x2\r\nab\r\n", b"+2\r\nab\r\n", b"-2\r\nab\r\n", b"0_2\r\nab\r\n", b"2 \r\nab\r\n",
        b" 2\r\nab\r\n", b"2\t\r\nab\r\n", b"\r\nab\r\n", b"2g\r\nab\r\n", b"\xd9\xa2\r\nab\r\n",
        b"f" * 17 + b"\r\nab\r\n", b"1" + b"0" * 15 + b"2\r\nab\r\n", b"2\nab\r\n", b"2\rab\r\n",
        b"2\r\nab\n", b"2\r\nab\r", b"2\r\nabXX", b"2\r\nabc\r\n", b"2;a\nab\r\n",
        b"2;a\rb\r\nab\r\n", b"2;\x00\r\nab\r\n", b'2;a="\r\nab\r\n', b"2;\r\nab\r\n",
        b"2;a=b\nc\r\nab\r\n",
    ]  # fmt: skip
    ends = [
        b"0\n\r\n", b"0\r\n\n", b"0\r\r\n", b"0\r\nX : a\r\n\r\n", b"0\r\nX\r\n\r\n",
        b"0\r\nX: a\n\r\n", b"0\r\nX: a\r\n b\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nHost: b\r\n\r\n",
    ]  # fmt: skip
    all_of = [*(body + LAST_CHUNK for body in bodies), *ends]
    return {f"chunk {body!r}": chunked(body) for body in all_of}


def header_lines() -> dict[str, bytes]:
    """By a header line that stands after Host."""
    names = [
        b"X: a\r\n b", b"X: a\r\n\tb", b"X:\r\n a", b"X : a", b"X\t: a", b"X\x00: a", b"X\x01: a",
        b"X\x7f: a", b"X\xff: a", b"X(): a", b"X Y: a", b": a", b"X", b" X: a", b"X: a\x00b",
        b"X: a\x01b", b"X: a\x7fb", b"X: a\nY: b", b"X: a\rY: b", b"X: a\r\rY: b", b"X: a\r",
        b"X: a\n", b"\nX: a", b"\rX: a", b"Host: a", b"Host: b", b"HOST: a", b"Host : b",
        b"Content-Length : 5", b"Content-Length\x00: 5", b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked", b"Transfer-Encoding:\r\n chunked",
        b"X: a\r\n Transfer-Encoding: chunked", b"X: a\nTransfer-Encoding: chunked",
    ]  # fmt: skip
    return {f"line {name!r}": get(name) for name in names}


def targets() -> dict[str, bytes]:
    """By the request line."""
    lines = [
        b"GET http://b/health HTTP/1.1", b"GET http://a:80/health HTTP/1.1",
        b"GET http://u@a/health HTTP/1.1", b"GET ftp://a/health HTTP/1.1",
        b"GET http:///health HTTP/1.1", b"GET http://[/health HTTP/1.1",
        b"GET //a HTTP/1.0 HTTP/1.1", b"GET a:80 HTTP/1.1", b"GET health HTTP/1.1",
        b"GET * HTTP/1.1", b"GET  HTTP/1.1", b"GET /health#x HTTP/1.1",
        b"GET /health?x#y HTTP/1.1", b"GET /hea lth HTTP/1.1", b"GET /health\t HTTP/1.1",
        b"GET /health\x00 HTTP/1.1", b"GET /health\x0b HTTP/1.1", b"GET /health\xff HTTP/1.1",
        b"GET\t/health HTTP/1.1", b" GET /health HTTP/1.1", b"CONNECT a:80 HTTP/1.1",
        b"CONNECT b:22 HTTP/1.1", b"get /health HTTP/1.1", b"GeT /health HTTP/1.1",
        b"G\x00ET /health HTTP/1.1", b"GET: /health HTTP/1.1", b"FOO /health HTTP/1.1",
        b"\xc7ET /health HTTP/1.1", b"GET /health", b"GET /health HTTP/0.9",
        b"GET /health HTTP/1.2", b"GET /health HTTP/1.10", b"GET /health HTTP/1",
        b"GET /health http/1.1", b"GET /health HTTP/2.0", b"PRI * HTTP/2.0",
        b"GET /health HTTP/1.1 ", b"GET /health HTTP /1.1", b"GET /health ICE/1.0",
        b"GET /health HTTP/1.1\r", b"GET /health HTTP/1.1\nX: a", b"GET /health HTTP/1.1\rX: a",
    ]  # fmt: skip
    return {f"target {line!r}": get(line=line) for line in lines}


def hosts() -> dict[str, bytes]:
    values = [
        b"a b", b"a,b", b"a@b", b"a/b", b"a?b", b"a#b", b"a\\b", b"a:b", b"a:1:2", b"[::1", b"::1",
        b"\xff", b"a\t.localhost", b"http://a",
    ]  # fmt: skip
    return {f"host {value!r}": get(host=b"Host: " + value) for value in values}


AMBIGUOUS = {
    "length and encoding": post(
        b"Content-Length: 5", b"Transfer-Encoding: chunked", body=LAST_CHUNK
    ),
    "encoding and length": post(
        b"Transfer-Encoding: chunked", b"Content-Length: 5", body=LAST_CHUNK
    ),
    "no encoding and length": post(b"Transfer-Encoding:", b"Content-Length: 5", body=b"hello"),
    "length and no encoding": post(b"Content-Length: 5", b"Transfer-Encoding:", body=b"hello"),
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
    "the same length twice": post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "two encodings": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=LAST_CHUNK
    ),
    "an encoding twice": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=LAST_CHUNK
    ),
    "no encoding, and one": post(
        b"Transfer-Encoding:", b"Transfer-Encoding: chunked", body=LAST_CHUNK
    ),
    "encoding of HTTP/1.0": get(
        b"Transfer-Encoding: chunked",
        b"Connection: keep-alive",
        line=b"POST /v1/tasks HTTP/1.0",
    )
    + LAST_CHUNK,
    "no host": get(host=b""),
    "LF only": get().replace(b"\r\n", b"\n"),
    "CR only": get().replace(b"\r\n", b"\r"),
    "LF at the end": get()[:-2] + b"\n",
    "CR at the end": get()[:-2] + b"\r",
    "a body without length": get() + b"hello",
    **lengths(),
    **encodings(),
    **chunks(),
    **header_lines(),
    **targets(),
    **hosts(),
}
