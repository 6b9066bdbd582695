"""Strict parsing of query strings: numbers are digits only, and no parameter may be repeated."""

import re
from collections.abc import Sequence
from typing import TypeVar

from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from fetchml.core.model import Status
from fetchml.core.requests import checks
from fetchml.errors import BadRequest

MAX_NUMBER = 2**63 - 1
_DIGITS = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,32}(\.[0-9]{1,32})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_MAX_DIGITS = 18
"""Every number of this length fits into 64 bits."""

_STATES = tuple(Status)
_NONE = MultiDictProxy[str](MultiDict())

T = TypeVar("T")


class Query:
    """The query parameters of a request. `ignored` lists those that the operation does not use."""

    def __init__(self, request: web.BaseRequest, *names: str, repeated: Sequence[str] = ()) -> None:
        """`names`: the parameters that the operation uses. `repeated`: those of them that may
        occur more than once. Raises BadRequest if another one does."""
        self._given = parameters = request.query if "?" in request.raw_path else _NONE
        self.ignored: list[str] = []
        if not parameters:
            return
        for name in names:
            if name not in repeated and len(parameters.getall(name, ())) > 1:
                raise BadRequest(f"{name}: must not be repeated")
        self.ignored = [name for name in parameters if name not in names]

    def text(self, name: str) -> str | None:
        """Return the parameter unchanged; `None` if it is absent."""
        return self._given.get(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return every occurrence of a parameter that may be repeated."""
        return tuple(self._given.getall(name, ()))

    def number(self, name: str) -> int | None:
        """Return a whole number of at least 0, or `None` if it is absent. A number of more than 18
        digits counts as `MAX_NUMBER`. Raises BadRequest for anything else."""
        text = self._given.get(name)
        if text is None:
            return None
        if not _DIGITS.fullmatch(text):
            raise BadRequest(f"{name}: must be a whole number, at least 0, in digits only")
        return int(text) if len(text) <= _MAX_DIGITS else MAX_NUMBER

    def decimal(self, name: str) -> float | None:
        """Return a finite number in decimal notation, or `None` if it is absent. Raises BadRequest
        for anything else."""
        text = self._given.get(name)
        if text is None:
            return None
        if not _DECIMAL.fullmatch(text):
            raise BadRequest(f"{name}: must be a number, such as -1.5 or 2e6")
        return float(text)

    def cut(self, items: Sequence[T]) -> Sequence[T]:
        """Return the part of a list that `offset` and `limit` select; the default is all of it."""
        first, limit = self.number("offset") or 0, self.number("limit")
        return items[first:] if limit is None else items[first : first + limit]

    def time(self, name: str) -> int | None:
        """Parse an RFC 3339 time into milliseconds since the epoch (UTC). `None` if it is absent.
        Raises BadRequest if it is malformed."""
        text = self._given.get(name)
        if text is None:
            return None
        at = checks.milliseconds(text)
        if at is None:
            raise BadRequest(f"{name}: {checks.TIME_RULE}")
        return at

    def flag(self, name: str) -> bool:
        """Return a Boolean, false by default. Raises BadRequest for other values than 0 and 1."""
        if not self._given:
            return False
        text = self._given.get(name, "0")
        if text not in ("0", "1", "false", "true"):
            raise BadRequest(f"{name}: must be 1 or 0")
        return text in ("1", "true")

    def status(self, name: str, allowed: tuple[Status, ...]) -> tuple[Status, ...]:
        """Return the state to filter by, or an empty tuple if the parameter is absent. Raises
        BadRequest for any other value (contract reading 1)."""
        text = self._given.get(name)
        if text is None:
            return ()
        for status in allowed:
            if text == status:
                return (status,)
        raise BadRequest(f"{name}: must be one of {', '.join(allowed)}")

    def states(self, name: str) -> tuple[Status, ...]:
        """Return states from a comma-separated list, which may be repeated. Raises BadRequest for
        an unknown one."""
        states = [each for text in self.texts(name) for each in text.split(",")]
        if unknown := [each for each in states if each not in _STATES]:
            raise BadRequest(f"{name}: {unknown[0][:64]!r} is not one of {', '.join(_STATES)}")
        return tuple(dict.fromkeys(Status(each) for each in states))

    def full_view(self) -> bool:
        """Return whether `view` is `full`. Raises BadRequest for an unknown view."""
        if not self._given:
            return False
        text = self._given.get("view", "basic").lower()
        if text not in ("basic", "full"):
            raise BadRequest("view: must be basic or full")
        return text == "full"
