"""Reading the messages of a call, each within its time limit."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from fetchml.api.grpc.receiving import MessagePlaces
from fetchml.errors import BadRequest

MESSAGE_SECONDS = 30
"""Longest wait for a call's first message."""
CHECK_SECONDS = 5
"""Longest wait for the message of a keyless call with a single reply."""
NEXT_MESSAGE_SECONDS = 60
"""Longest wait for each later message."""
NO_MESSAGE = "The call ended without a message"


def late(seconds: float) -> str:
    """Return the error message for a first message that did not arrive in time."""
    return f"The call's message did not come within {seconds} s"


async def read_messages(
    places: MessagePlaces, caller: str, context: Any, seconds: float | None = None
) -> AsyncGenerator[Any]:
    """Yield a call's messages, the first within `seconds`; `None`: MESSAGE_SECONDS. Raises the
    errors of `MessagePlaces.receive`."""
    if seconds is None:
        seconds = MESSAGE_SECONDS
    message_late = late(seconds)
    while True:
        message = await places.receive(caller, context.read, seconds, message_late)
        if message is grpc.aio.EOF:
            return
        yield message
        seconds = NEXT_MESSAGE_SECONDS
        message_late = f"No message of the call came for {seconds} s"


async def only_message(messages: AsyncGenerator[Any]) -> Any:
    """Return the message of a call that has one. Raises BadRequest if there is none."""
    async with aclosing(messages):
        async for message in messages:
            return message
    raise BadRequest(NO_MESSAGE)


async def read_conversation(
    places: MessagePlaces, caller: str, context: Any
) -> AsyncGenerator[Any]:
    """Yield the messages of a call that may stay quiet for hours: only the first has a time limit
    and needs a place. The method itself limits the number of such calls.

    Raises the errors of `MessagePlaces.receive`.
    """
    message = await places.receive(caller, context.read, MESSAGE_SECONDS, late(MESSAGE_SECONDS))
    while message is not grpc.aio.EOF:
        yield message
        message = await context.read()
