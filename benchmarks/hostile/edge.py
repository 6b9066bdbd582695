"""A flood without a key through Envoy."""

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection

from benchmarks.hostile.attack import Attack, Outcome
from benchmarks.processes import Server, scratch_folder
from testbed import envoy as proxy
from testbed.authority import Authority

BURST = 100
"""Requests that each address may send."""
FLOODERS = 8
REQUESTS = 500
"""Of each."""
OTHERS_ADDRESS = "127.0.0.2"
OTHERS = 10
"""Requests of another address for each path."""
NOTEBOOK = f"/jupyter/{uuid.UUID(int=7)}/lab"
EXPECTED = {NOTEBOOK: 404, "/ws": 401}
"""Statuses without a key and without such a service, beyond Envoy's limit."""


@contextmanager
def flood(server: Server) -> Iterator[Attack]:
    ports = {name: int(getattr(server, name).rpartition(":")[2]) for name in ("http", "grpc")}
    with scratch_folder() as folder:
        Authority(folder / "ca").issue(folder / "cert.pem", folder / "key.pem")
        with proxy.running("envoy.yaml", folder, folder, ports, plain=True, burst=BURST) as envoy:
            yield _attack(f"127.0.0.1:{envoy.ports[proxy.PLAIN]}")


def _attack(address: str) -> Attack:
    def attack() -> Outcome:
        with ThreadPoolExecutor(FLOODERS + 1) as pool:
            paths = [NOTEBOOK, "/v1/queue"] * (FLOODERS // 2)
            floods = [pool.submit(_ask, address, [path] * REQUESTS, "") for path in paths]
            wanted = [path for path in EXPECTED for _ in range(OTHERS)]
            others = pool.submit(_ask, address, wanted, OTHERS_ADDRESS).result()
            flooded = sum((Counter(each.result()) for each in floods), Counter[int]())
        kept = others == [EXPECTED[path] for path in wanted]
        served = "are passed on" if kept else f"are answered with {Counter(others)}"
        remark = (
            f"{flooded[429]:,} of {FLOODERS * REQUESTS:,} answered with 429; another address's "
            f"requests for /jupyter/ and /ws {served}"
        )
        return Outcome(remark, kept=kept and flooded[429] > 0)

    return attack


def _ask(address: str, paths: list[str], source: str) -> list[int]:
    """Statuses of requests without a key."""
    found = []
    with closing(HTTPConnection(address, source_address=(source, 0))) as connection:
        for path in paths:
            connection.request("GET", path)
            reply = connection.getresponse()
            reply.read()
            found.append(reply.status)
    return found
