"""Datasets from object stores (s3 and others), through fsspec and what it finds installed.

The server's own credentials are used, as the library finds them in the server's environment.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fetchml.ports.launcher import PrepareError
from fetchml.ports.origin import ContentVersion, Download, Interrupted

STALL_SECONDS = 60.0
THREADS = 8
"""Separate threads, because a call that hangs keeps its thread."""
_CHUNK_BYTES = 4 << 20
_VERSION_FIELDS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "mtime", "created")

T = TypeVar("T")


class FsspecOrigin:
    """`Origin` for every scheme that fsspec supports."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "fetchml-fsspec")

    @asynccontextmanager
    async def read(
        self, url: str, *, offset: int = 0, version: ContentVersion | None = None
    ) -> AsyncIterator[Download | None]:
        scheme = url.partition(":")[0].lower()
        files = await self._call(lambda: _file_system(scheme))
        # Only the path: a whole URL could chain another file system to this one.
        path = importlib.import_module("fsspec.core").strip_protocol(url)
        info = await self._call(lambda: files.info(path))
        if info.get("type") == "directory":
            raise PrepareError("it is a folder: name one file", permanent=True)
        now = next((ContentVersion(str(info[f])) for f in _VERSION_FIELDS if info.get(f)), None)
        if version is not None and now == version and not offset:
            yield None
            return
        start = offset if now is not None and now == version else 0
        file = await self._call(lambda: files.open(path, "rb"))
        try:
            yield Download(start, info.get("size"), now, self._chunks(file, start))
        finally:
            self._threads.submit(file.close)

    async def _chunks(self, file: Any, start: int) -> AsyncIterator[bytes]:
        await self._call(lambda: file.seek(start))
        while chunk := await self._call(lambda: file.read(_CHUNK_BYTES)):
            yield bytes(chunk)

    async def _call(self, function: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                return await loop.run_in_executor(self._threads, function)
        except PrepareError:
            raise
        except TimeoutError as error:
            raise Interrupted("timed out: no data received") from error
        except FileNotFoundError as error:
            raise PrepareError("file not found", permanent=True) from error
        except PermissionError as error:
            raise PrepareError("permission denied", permanent=True) from error
        except Exception as error:
            raise Interrupted(f"read failed ({type(error).__name__})") from error


def _file_system(scheme: str) -> Any:
    try:
        return importlib.import_module("fsspec").filesystem(scheme)
    except ImportError as error:
        message = (
            f"the server lacks the library that reads {scheme}://: its owner installs "
            "fetchml[s3], or fsspec with what it needs for this scheme"
        )
        raise PrepareError(message, permanent=True) from error
    except ValueError as error:
        raise PrepareError(f"unsupported scheme {scheme}://", permanent=True) from error
