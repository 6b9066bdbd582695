"""The blocking client is generated from the asyncio one, and is up to date."""

import pytest

from build import unasync


def test_asyncio_becomes_blocking_code() -> None:
    source = """
import asyncio
import time

async def read(client: AsyncClient, path: Path) -> AsyncIterator[int]:
    async with aclosing(client.stream()) as messages:
        async for message in messages:
            yield message
    await asyncio.to_thread(path.write_bytes, b"")
    await asyncio.sleep(1)
"""
    assert (
        unasync.generate(source, "client.py").partition("\n")[2]
        == """
import time


def read(client: Client, path: Path) -> Iterator[int]:
    with closing(client.stream()) as messages:
        yield from messages
    path.write_bytes(b"")
    time.sleep(1)
"""
    )


@pytest.mark.parametrize("line", ["x = asyncio.Event()", "x = await anext(y)"])
def test_a_construct_without_a_substitution_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="no substitution covers"):
        unasync.generate(f"{line}\n", "client.py")
