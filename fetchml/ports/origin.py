"""The origin: where the contents of datasets come from."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec


class ContentVersion(msgspec.Struct, frozen=True):
    """The headers by which an origin distinguishes one content of a URL from the next."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Download:
    """A content while it is being read."""

    offset: int
    """Byte offset of the first chunk."""
    length: int | None
    """Length of the whole content in bytes; `None` if the origin does not report it."""
    version: ContentVersion | None
    """`None` if nothing distinguishes it from another content."""
    chunks: AsyncIterator[bytes]
    """Raises Interrupted."""


class Interrupted(Exception):
    """A download broke off, or did not begin; a retry may help. The message is for the user."""

    def __init__(self, message: str, *, anew: bool = False) -> None:
        super().__init__(message)
        self.anew = anew
        """The retry must start from the beginning, not where this one broke off."""


class Origin(Protocol):
    """Reads the datasets of some URL schemes, any number at the same time."""

    def read(
        self, url: str, *, offset: int = 0, version: ContentVersion | None = None
    ) -> AbstractAsyncContextManager[Download | None]:
        """Open a content, and close it at the end of the context.

        - Offset 0 reads from the start. With a `version`, the result is `None` if the content
          still is that one.
        - Another offset resumes there if the content still is `version`, otherwise reads from the
          start.

        May return before the first byte; gives up if none comes for some time. Raises Interrupted
        if a retry may help, otherwise PrepareError.
        """
