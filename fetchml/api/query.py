"""Query strings, read strictly: a number is digits, and nothing is given twice."""

import re

from aiohttp import web

from fetchml.core.model import Status
from fetchml.errors import BadRequest

MAX_NUMBER = 2**63 - 1
_DIGITS = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_MAX_DIGITS = 18
"""So many fit into 64 bits, whichever they are."""


class Query:
    """The parameters of a request. Those that the operation does not know are `ignored`."""

    def __init__(self, request: web.BaseRequest, *known: str) -> None:
        """Raises BadRequest if a known parameter is repeated."""
        given = request.query
        for name in known:
            if len(given.getall(name, ())) > 1:
                raise BadRequest(f"{name}: must be given only once")
        self._given = given
        self.ignored = [name for name in given if name not in known] if given else []

    def text(self, name: str) -> str | None:
        return self._given.get(name)

    def number(self, name: str) -> int | None:
        """A whole number, at least 0; one of more than 18 digits is as good as the largest."""
        text = self._given.get(name)
        if text is None:
            return None
        if not _DIGITS.fullmatch(text):
            raise BadRequest(f"{name}: must be a whole number, at least 0, in digits only")
        return int(text) if len(text) <= _MAX_DIGITS else MAX_NUMBER

    def flag(self, name: str) -> bool:
        text = self._given.get(name, "0")
        if text not in ("0", "1", "false", "true"):
            raise BadRequest(f"{name}: must be 1 or 0")
        return text in ("1", "true")

    def status(self, name: str, allowed: tuple[Status, ...]) -> tuple[Status, ...]:
        """The state to filter by; empty: not given."""
        text = self._given.get(name)
        if text is None:
            return ()
        for status in allowed:
            if text == status:
                return (status,)
        raise BadRequest(f"{name}: must be one of {', '.join(allowed)}")

    def full_view(self) -> bool:
        text = self._given.get("view", "basic").lower()
        if text not in ("basic", "full"):
            raise BadRequest("view: must be basic or full")
        return text == "full"
