"""SQL queries of users, and exports of views. Verbs raise `errors.RequestError`."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from fetchml.core import permissions, sql_views
from fetchml.core.model import Principal
from fetchml.core.requests.checks import text_fault
from fetchml.core.requests.text import nearest, shown
from fetchml.core.sql_views import MAX_SQL, Column, View
from fetchml.errors import DiskFull, Unavailable, forbid
from fetchml.history.child_process import child_process, fault, scratch_folder
from fetchml.history.query_process import (
    MAX_ROWS_BYTES,
    RESULT,
    SECONDS,
    TOO_MUCH_MEMORY,
)
from fetchml.ports.history_store import HistoryStore
from fetchml.ports.store import ReadTooLong
from fetchml.system.locks import KeyedLocks
from fetchml.system.threads import run_in_thread

AT_ONCE = 2
"""Queries that run; others wait."""
START_SECONDS = 10
"""Longest time from the start of a process until it has read its query."""
PROCESS = "fetchml.history.query_process"
CHUNK_BYTES = 256 << 10
TOO_LONG_TO_EXPORT = "The history takes too long to read: query other views"
TOO_LONG = f"the query takes longer than {SECONDS} s: narrow it or aggregate more"

log = logging.getLogger(__name__)


class QueryResult(msgspec.Struct, frozen=True):
    """The first rows of a result."""

    columns: list[Column]
    rows: list[list[Any]]
    cut: bool
    """Whether there are more."""


class History:
    """Used from one event loop. Each user has one query at a time.

    A query runs in a process of its own, over files that hold only what the user may see.
    """

    def __init__(self, store: HistoryStore, *, private: bool, has_room: Callable[[], bool]) -> None:
        """`private`: users see only what is theirs. `has_room`: whether the disk has space."""
        self._store = store
        self._private = private
        self._has_room = has_room
        self._turns = KeyedLocks()
        self._places = asyncio.Semaphore(AT_ONCE)

    def remove_left_over(self) -> None:
        """Remove the files of queries that a killed server left. Raises OSError."""
        shutil.rmtree(self._store.folder, ignore_errors=True)
        self._store.folder.mkdir(mode=0o700)

    def views(self, who: Principal) -> list[View]:
        """Return the views that the caller may read."""
        return [view for view in sql_views.VIEWS if sql_views.refusal(who, view) is None]

    async def rows(self, who: Principal, request: Mapping[str, object]) -> QueryResult:
        """Return the first rows of a query, `{"sql"}`."""
        sql = _checked(request.get("sql"))
        with await self._run(who, sql, None) as file:
            data = await run_in_thread(file.read, 2 * MAX_ROWS_BYTES)
            return await run_in_thread(msgspec.json.decode, data, type=QueryResult)

    async def file(self, who: Principal, sql: str, form: str) -> BinaryIO:
        """Return the result of a query, as an open file in one of `FORMATS`."""
        return await self._run(who, _checked(sql), form)

    async def export(self, who: Principal, name: str) -> BinaryIO:
        """Return all rows of a view, as an open Parquet file."""
        [view] = self._named(who, [name], "view")
        async with self._turn(who), scratch_folder(self._store.folder) as folder:
            await self._write([view], folder, who)
            return (folder / view).open("rb")

    async def _run(self, who: Principal, sql: str, form: str | None) -> BinaryIO:
        async with self._turn(who), scratch_folder(self._store.folder) as folder:
            # Opened here: the process may have put anything in its place.
            result = (folder / RESULT).open("xb+")
            try:
                async with child_process(PROCESS, folder, "sql", TOO_MUCH_MEMORY) as process:
                    async with asyncio.timeout(START_SECONDS):
                        answer = await process.ask({"sql": sql, "form": form})
                    views = self._named(who, answer["views"], "sql")
                    await self._write(views, folder, who)
                    async with asyncio.timeout(SECONDS):
                        await process.ask({})
            except TimeoutError:
                result.close()
                raise fault("sql", TOO_LONG) from None
            except BaseException:
                result.close()
                raise
            result.seek(0)
            return result

    @asynccontextmanager
    async def _turn(self, who: Principal) -> AsyncIterator[None]:
        async with self._turns.hold(who.user), self._places:
            if not self._has_room():
                raise DiskFull
            yield

    def _named(self, who: Principal, names: Sequence[str], field: str) -> list[str]:
        """Return the views with these names, in small letters. Raises ValidationFailed,
        Forbidden."""
        found = dict[str, View]()
        for name in names:
            view = sql_views.BY_NAME.get(name.lower())
            if view is None:
                raise fault(field, _unknown(name, self.views(who)))
            forbid(sql_views.refusal(who, view))
            found[view.name] = view
        return list(found)

    async def _write(self, views: Sequence[str], folder: Path, who: Principal) -> None:
        owner = None if permissions.sees_all(who, private=self._private) else who.user
        try:
            await self._store.export(views, folder, owner)
        except ReadTooLong:
            raise Unavailable(TOO_LONG_TO_EXPORT) from None
        except OSError as error:
            log.warning("the history cannot be exported: %s", error)
            raise Unavailable("The history cannot be exported: the server's log has why") from error


def _checked(sql: object) -> str:
    if not isinstance(sql, str) or not sql.strip():
        raise fault("sql", "must be a text with one SELECT statement")
    if len(sql) > MAX_SQL:
        raise fault("sql", f"must have at most {MAX_SQL} characters")
    if rule := text_fault(sql):
        raise fault("sql", rule)
    return sql


def _unknown(name: str, views: Sequence[View]) -> str:
    names = [view.name for view in views]
    near = nearest(name, names)
    meant = f"; did you mean {near}?" if near else ""
    return f"unknown view {shown(name, 80)}{meant} The views are {', '.join(names)}"
