"""Which handler answers a path. Paths without parameters, the quick case, are looked up."""

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from fetchml.api.http.errors import MethodNotAllowed
from fetchml.errors import NotFound

if TYPE_CHECKING:
    from fetchml.api.http.request import RestRequest

Handler = Callable[..., Awaitable[web.StreamResponse]]
"""Called with a `RestRequest` and the path's parameters, decoded, in their order."""


class Route:
    """An operation, and how it went so far."""

    def __init__(self, method: str, path: str, handler: Handler, *, keyless: bool = False) -> None:
        """`{name}` in the path is one segment, `{name...}` all that is left. The method `*` is
        every one that has no route of its own.

        `keyless`: the handler is called for anybody.
        """
        self.method = method
        self.path = path
        self.handler = handler
        self.keyless = keyless
        self.replies: dict[int, int] = {}
        """Status → number of replies."""
        self.seconds = 0.0
        """Spent on all of them together."""

    def count(self, status: int, seconds: float) -> None:
        self.replies[status] = self.replies.get(status, 0) + 1
        self.seconds += seconds


class Router:
    def __init__(self) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: dict[re.Pattern[str], dict[str, Route]] = {}
        self._nothing = Route("*", "no such path", _nothing, keyless=True)
        self._not_allowed = Route("*", "no such method", _not_allowed, keyless=True)
        self._options = Route("OPTIONS", "*", _options, keyless=True)

    def add(self, route: Route) -> None:
        if "{" in route.path:
            pattern = re.compile(_regex(route.path), re.DOTALL)
            self._patterns.setdefault(pattern, {})[route.method] = route
        else:
            self._exact.setdefault(route.path, {})[route.method] = route

    def routes(self) -> list[Route]:
        tables = [*self._exact.values(), *self._patterns.values()]
        known = [route for methods in tables for route in methods.values()]
        return [*known, self._options, self._not_allowed, self._nothing]

    def refuses(self, route: Route) -> bool:
        """Whether it is no operation: there is nothing there, or not with this method."""
        return route in (self._nothing, self._not_allowed)

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """The route and its handler's parameters. HEAD is answered as GET is."""
        parameters: tuple[str, ...] = ()
        methods = self._exact.get(path)
        if methods is None:
            for pattern, candidates in self._patterns.items():
                if match := pattern.fullmatch(path):
                    methods, parameters = candidates, match.groups()
                    break
            else:
                return self._nothing, ()
        route = methods.get("GET" if method == "HEAD" else method, methods.get("*"))
        if route is not None:
            return route, parameters
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
        return (self._options if method == "OPTIONS" else self._not_allowed), (allowed,)


async def _nothing(request: "RestRequest") -> web.StreamResponse:
    raise NotFound("There is nothing at this path: /openapi.yaml lists what there is")


async def _not_allowed(request: "RestRequest", allowed: str) -> web.StreamResponse:
    raise MethodNotAllowed(request.http.method, allowed)


async def _options(request: "RestRequest", allowed: str) -> web.StreamResponse:
    return request.empty({"Allow": allowed})


def _regex(path: str) -> str:
    parts = re.split(r"(\{[a-z_]+(?:\.\.\.)?\})", path)
    return "".join(_part(part) for part in parts)


def _part(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    return "(.+)" if part.endswith("...}") else "([^/]+)"
