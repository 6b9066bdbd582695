"""Runs of one experiment, with parameters, results, and two versions of their code."""

from typing import Any

from tests.support.archives import archive
from tests.support.program import Server

REPORTS = """
import json, os, sys
rate = float(sys.argv[2])
with open(os.path.join(os.environ["FETCHML_OUTPUTS"], "metrics.json"), "w") as file:
    json.dump({"loss": rate, "accuracy": 0.95 - rate / 10}, file)
"""


async def snapshot(server: Server, files: dict[str, bytes]) -> str:
    """Returns its id."""
    reply = await server.rest.ask(
        "PUT", "/v1/snapshots", archive(files), Content_Type="application/gzip"
    )
    return str(reply.json["id"])


async def experiment(server: Server, name: str, note: str = "") -> tuple[str, list[str]]:
    """Three ended runs, the last one of other code. `note`: a label of each. Returns the
    experiment's id and theirs."""
    made = await server.rest.submit({"name": name}, "/v1/experiments")
    common = {"helper.py": b"same = True\n", "run.py": REPORTS.encode()}
    old = await snapshot(server, {**common, "model.py": b"layers = 2\nwidth = 8\n"})
    new = await snapshot(server, {**common, "model.py": b"layers = 4\nwidth = 8\n"})
    ids = []
    for rate, code in (("0.1", old), ("0.01", old), ("0.5", new)):
        fields: dict[str, Any] = {
            "command": ["python3", "run.py"],
            "args": f"--lr {rate} --seed 1",
            "snapshot_id": code,
            "experiment_id": made.json["id"],
            "metadata": {"note": note} if note else {},
        }
        ids.append(await server.submit("unused", **fields))
    for task_id in ids:
        await server.ended(task_id)
    return made.json["id"], ids
