"""A bare loop over slurmrestd: what a client without FetchML would do."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from fetchml.adapters.slurm.tokens import make_token
from testbed.slurm import Slurm

AT_ONCE = 16


TRUE = "#!/bin/sh\ntrue\n"


def submit(cluster: Slurm, count: int, **properties: object) -> float:
    """Submit jobs that run `true`; return the seconds until the last is acknowledged."""
    return submit_scripts(cluster, [TRUE] * count, **properties)


def submit_scripts(cluster: Slurm, scripts: Sequence[str], **properties: object) -> float:
    """Submit a job for each script; return the seconds until the last is acknowledged."""
    return asyncio.run(_submit(cluster, scripts, properties))


def ended(cluster: Slurm) -> int:
    """Return how many jobs have ended since slurmctld's start. It costs less than `squeue`."""
    request = urllib.request.Request(  # noqa: S310
        f"{cluster.url}/slurm/v0.0.42/diag", headers=_headers(cluster)
    )
    with urllib.request.urlopen(request) as reply:  # noqa: S310 - the testbed's own
        return int(json.load(reply)["statistics"]["jobs_completed"])


def _headers(cluster: Slurm) -> dict[str, str]:
    token = make_token(cluster.jwt_key.read_bytes(), "root", int(time.time()), 3600)
    return {"X-SLURM-USER-NAME": "root", "X-SLURM-USER-TOKEN": token}


async def _submit(
    cluster: Slurm, scripts: Sequence[str], properties: Mapping[str, object]
) -> float:
    job: dict[str, Any] = {
        "name": "bare",
        "current_working_directory": "/tmp",  # noqa: S108 - nothing is written there
        "standard_output": "/dev/null",
        "environment": ["PATH=/usr/bin:/bin"],
        "requeue": False,
        "tasks": 1,
        **properties,
    }
    remaining = iter(scripts)
    async with aiohttp.ClientSession(cluster.url, headers=_headers(cluster)) as session:

        async def loop() -> None:
            for script in remaining:
                body = {"script": script, "job": job}
                async with session.post("/slurm/v0.0.42/job/submit", json=body) as reply:
                    answer = await reply.json()
                    assert answer.get("job_id"), answer

        began = time.perf_counter()
        await asyncio.gather(*(loop() for _ in range(AT_ONCE)))
        return time.perf_counter() - began
