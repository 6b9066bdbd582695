"""A call as a browser makes it: gRPC-Web, over plain HTTP."""

import struct

from google.protobuf.message import Message

from tests.support.rest_world import Client

TRAILERS = 0x80
"""Flag of the frame that holds them; they come in the body, where a browser can read them."""


async def call_over_web(
    client: Client, method: str, request: Message
) -> tuple[list[bytes], dict[str, str]]:
    """The messages of the reply, and its trailers. Raises ClientResponseError where a proxy answers
    with a status of HTTP; clients take that for gRPC's status."""
    data = request.SerializeToString()
    headers = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1"}
    async with client.session.post(
        client.url(f"/{method}"),
        data=struct.pack(">BI", 0, len(data)) + data,
        headers=client.with_key(headers),
    ) as response:
        response.raise_for_status()
        body = await response.read()
        # An error without a message has its trailers in the head.
        trailers = {name.lower(): value for name, value in response.headers.items()}
    messages: list[bytes] = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        frame, body = body[5 : 5 + length], body[5 + length :]
        if flags & TRAILERS:
            lines = frame.decode().strip().split("\r\n")
            trailers |= {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines}
        else:
            messages.append(frame)
    return messages, trailers
