"""Routing: the handler for a method and a path.

Paths are matched as they were sent, and only parameters are decoded afterwards. So no encoded
character leads to another route than a proxy's rule for the path has matched.

Paths without parameters, the fast case, are found by a dictionary lookup.
"""

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

from fetchml.api.http.errors import CONTRACT, ErrorForm, MethodNotAllowed
from fetchml.errors import NotFound

if TYPE_CHECKING:
    from fetchml.api.http.request import RestRequest

Handler = Callable[..., Awaitable[web.StreamResponse]]
"""A function of a `RestRequest` and the path's parameters, decoded, in the path's order. Only a
parameter for the rest of the path can hold slashes."""


_SEGMENT = "([^/]+)"


class Route:
    """An operation, with counts of its replies."""

    def __init__(
        self,
        method: str,
        path: str,
        handler: Handler,
        *,
        keyless: bool = False,
        admit: "Callable[[RestRequest], None] | None" = None,
        errors: ErrorForm = CONTRACT,
    ) -> None:
        """`{name}` in the path matches one segment, `{name...}` the rest of the path. The method
        `*` matches every method without its own route.

        `keyless`: the operation needs no API key. `admit`: admits a request instead of the API key
        or the session; `None` for those.
        """
        self.method = method
        self.path = path
        self.handler = handler
        self.keyless = keyless
        self.admit = admit
        self.errors = errors
        self.replies: dict[int, int] = {}
        """Status → number of replies."""
        self.seconds = 0.0
        """Total time from requests to replies."""

    def count(self, status: int, seconds: float) -> None:
        self.replies[status] = self.replies.get(status, 0) + 1
        self.seconds += seconds


class Router:
    """Finds the route of a request. Unknown paths and wrong methods have their own routes."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: dict[re.Pattern[str], dict[str, Route]] = {}
        self._not_found = Route("*", "no such path", _not_found, keyless=True)
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
        routes = [route for methods in tables for route in methods.values()]
        return [*routes, self._options, self._not_allowed, self._not_found]

    def is_error(self, route: Route) -> bool:
        """Return whether the route only reports an unknown path or a wrong method."""
        return route in (self._not_found, self._not_allowed)

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """Return the route and the path's parameters. HEAD is routed as GET.

        path: as it was sent, without the query."""
        parameters: tuple[str, ...] = ()
        methods = self._exact.get(path)
        if methods is None:
            for pattern, candidates in self._patterns.items():
                if match := pattern.fullmatch(path):
                    methods, parameters = candidates, match.groups()
                    break
            else:
                return self._not_found, ()
            if "%" in path:
                parameters = tuple(map(_decoded, parameters))
                if any("/" in each for each in parameters[: pattern.pattern.count(_SEGMENT)]):
                    return self._not_found, ()
        route = methods.get("GET" if method == "HEAD" else method, methods.get("*"))
        if route is not None:
            return route, parameters
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
        return (self._options if method == "OPTIONS" else self._not_allowed), (allowed,)


async def _not_found(request: "RestRequest") -> web.StreamResponse:
    raise NotFound("Path not found: see /openapi.yaml for the available paths")


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
    return "(.+)" if part.endswith("...}") else _SEGMENT


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
