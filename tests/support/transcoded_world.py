"""REST clients and a gRPC server, with Envoy's transcoder in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from fetchml.auth.limits import RateLimiter
from fetchml.config.proxies import Proxies
from fetchml.core.model import Role
from tests.support import rest_world
from tests.support.grpc_world import grpc_world


@asynccontextmanager
async def transcoded(
    folder: Path, limiter: RateLimiter | None = None, proxies: Proxies | None = None
) -> AsyncIterator[rest_world.World]:
    """The world of the REST suites over a server that speaks only gRPC."""
    async with (
        grpc_world(folder, limiter, proxies) as world,
        aiohttp.ClientSession(skip_auto_headers=("Content-Type",)) as session,
    ):
        client = rest_world.Client(session, f"http://{world.address}", world.secrets[Role.USER])
        yield rest_world.World(
            world.engine,
            world.server,  # type: ignore[arg-type]  # to be stopped; it is all that tests ask of it
            world.keyring,
            world.store,
            int(world.address.rpartition(":")[2]),
            world.secrets,
            client,
            world.services,
            world.box,
        )
