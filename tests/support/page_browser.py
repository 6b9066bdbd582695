"""What a browser sends from the page, without one."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from fetchml.core.model import Role
from tests.support.rest_world import Reply, World

SAME = {"Sec-Fetch-Site": "same-origin"}
SESSION = "/ui/session"


@dataclass
class Browser:
    """What a browser sends from the page that it has loaded from `host`."""

    rest: World
    host: str
    scheme: str = "http"
    cookies: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    """What the page keeps in its storage, or in its memory."""

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    async def ask(
        self, method: str, path: str, body: object = None, **headers: str | None
    ) -> Reply:
        """`headers`: also those that replace the browser's own; `None` leaves one out."""
        given: dict[str, str | None] = {"Host": self.host, **SAME}
        if method not in ("GET", "HEAD"):
            given["Origin"] = self.origin
        if self.cookies:
            given["Cookie"] = self.cookie
        if self.token is not None:
            given["X-FetchML-Session"] = self.token
        data = None if body is None else msgspec.json.encode(body)
        if data is not None:
            given["Content-Type"] = "application/json"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in given.items() if value is not None}
        client = self.rest.as_(None)
        async with client.session.request(
            method, client.url(path), data=data, headers=sent
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def sign_in(self, role: Role = Role.USER, **headers: str | None) -> Reply:
        reply = await self.ask("POST", SESSION, {"key": self.rest.secrets[role]}, **headers)
        for value in reply.headers.getall("Set-Cookie", ()):
            name, _, rest = value.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        if reply.status == 201:
            self.token = reply.json["token"]
        return reply


async def audit_of(rest: World) -> list[Any]:
    query = rest.as_(rest.secrets[Role.ADMIN])
    entries = (await query.get("/v1/audit")).json["entries"]
    return [msgspec.convert(entry, type=_Entry) for entry in entries]


class _Entry(msgspec.Struct):
    action: str
    user_id: str = ""
    target: str = ""
    detail: str = ""
