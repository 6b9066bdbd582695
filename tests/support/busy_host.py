"""A host that has been in use for a week: GPUs with history, tasks in every state, runs with
results. Tests of what the page shows read it, and change nothing."""

import asyncio
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from fetchml.core.model import Role
from fetchml.core.usage import GpuHold, GpuSample
from fetchml.ports.usage_store import UsageBatch
from testbed.gpu.stand_in import GpuBox, gpu, uuid
from tests.support.experiment_runs import experiment
from tests.support.logged_runs import start_run
from tests.support.program import Backend, Server
from tests.support.rest_world import Reply
from tests.support.server_fixtures import Serve
from tests.support.stores import open_store
from tests.support.waiting import until

ADMIN = ("keys", "use", "storage", "audit", "host")
"""The parts of the admin's page."""
GPUS = 4
DAY_MS = 86_400_000
EVERY_MS = 900_000
"""Between two samples of the past week; of the last hour it is SAMPLE_MS."""
SAMPLE_MS = 10_000

TRAINS = r"""
echo $$
printf '\033[1mepoch\033[0m 1 \033[32mloss 0.5\033[0m\n'
while [ $((i += 1)) -le 3600 ]; do
  echo "step $i"
  n=0
  while [ $n -lt 4000 ]; do n=$((n + 1)); done
  sleep 0.5
done
"""
"""Uses little of a core, for half an hour if nothing ends it before."""
WRITES = r"""
printf 'epoch,loss\n1,0.5\n2,"<b>0.25</b>"\n' > "$FETCHML_OUTPUTS/history.csv"
printf '{"accuracy": 0.93, "loss": 0.25}' > "$FETCHML_OUTPUTS/metrics.json"
printf 'plain\n<i>text</i>\n' > "$FETCHML_OUTPUTS/notes.txt"
python3 -c 'import wave
with wave.open("'"$FETCHML_OUTPUTS"'/tone.wav", "wb") as sound:
    sound.setparams((1, 2, 8000, 4000, "NONE", ""))
    sound.writeframes(bytes(8000))'
printf '\033[1;31mred\033[0m \033[32mgreen\033[0m plain \033[38;5;208morange\033[0m\n'
echo "$(seq -s ' ' 1 400)"
echo the end
"""
"""Outputs of each kind that has a preview, a log with colours and a long line."""

LEARNS = r"""
i=0
while [ $((i += 1)) -le 200 ]; do
  loss=$((1000 / (i + 10)))
  echo "epoch $i loss $loss"
  echo "{\"step\": $i, \"train/loss\": $loss, \"val/loss\": $((loss + 9))}" >&3
done 3>> "$FETCHML_OUTPUTS/metrics.jsonl"
"""
"""Curves beside a log."""


@dataclass(frozen=True)
class BusyHost:
    server: Server
    viewer_key: str
    ids: dict[str, str]
    """Of tasks, by their job names; `experiment` and `sweep` too."""
    runs: list[str]
    """Ids of the runs of the experiment."""
    logged: list[str]
    """Ids of runs with curves."""
    held: list[int]
    """Numbers of the GPUs that `trains` has. Of the others the first is free."""

    def views(self) -> dict[str, str]:
        """Name of each view, as this host fills it → address below `/ui/`."""
        ids = self.ids
        run, other = self.runs[0], self.runs[2]
        experiment = f"experiments/{ids['experiment']}"
        return {
            "overview": "",
            "tasks": "tasks?user=*",
            "tasks-failed": "tasks?user=*&status=failed&columns=status,task,why,needs,labels",
            "task": f"tasks/{ids['trains']}",
            "task-usage": f"tasks/{ids['trains']}?tab=usage",
            "task-details": f"tasks/{ids['trains']}?tab=details",
            "task-shell": f"tasks/{ids['trains']}?tab=shell",
            "task-table": f"tasks/{ids['writes']}?tab=outputs&file=history.csv",
            "task-sound": f"tasks/{ids['writes']}?tab=outputs&file=tone.wav",
            "task-waiting": f"tasks/{ids['waits']}",
            "task-failed": f"tasks/{ids['too-long']}",
            "submit": f"submit?from={run}",
            "experiments": "experiments",
            "experiment": experiment,
            "experiment-scatter": f"{experiment}?part=scatter",
            "experiment-parallel": f"{experiment}?part=parallel",
            "compare": f"compare?task={run}&task={other}&all=1",
            "task-curves": f"tasks/{ids['learns']}?tab=curves",
            "task-beside": f"tasks/{ids['learns']}",
            "runs": "runs",
            "sql": "sql?q=SELECT+*+FROM+metrics",
            "run": f"runs/{self.logged[0]}",
            "compare-runs": "compare?" + "&".join(f"run={one}" for one in self.logged),
            "sweeps": "sweeps",
            "sweep": f"sweeps/{ids['sweep']}",
            "gpus": "gpus?range=7d",
            "gpus-hour": "gpus?range=1h",
            "jupyter": "jupyter",
            "environments": "environments",
            "secrets": "secrets",
            "notifications": "notifications",
            **{f"admin-{part}": f"admin?part={part}" for part in ADMIN},
            "not-found": "no/such/view",
        }


async def busy_host(serve: Serve, backend: Backend, box: GpuBox) -> BusyHost:
    """`box`: of a folder that only this server has."""
    idle = [gpu(number) for number in range(GPUS)]
    box.set(*idle)
    path = os.pathsep.join(filter(None, [str(box.folder), os.environ.get("LD_LIBRARY_PATH")]))
    server = serve(
        backend,
        LD_LIBRARY_PATH=path,
        FETCHML_TASKS_MAX_RUNNING="16",
        FETCHML_QUOTAS_USER_GPUS="4",
        FETCHML_QUOTAS_USER_STORAGE_GB="5",
    )
    await _remember_a_week(server.data_dir)
    await server.start()
    ids = {"trains": await server.submit_running(TRAINS, job_name="trains", gpu=2, cpu=1)}
    given = (await server.get(ids["trains"])).gpu_uuids
    held = [number for number in range(GPUS) if uuid(number) in given]
    free, blocked = (number for number in range(GPUS) if number not in held)
    log = await until(lambda: server.rest.get(f"/v1/tasks/{ids['trains']}/logs"), _has_line)
    pid = log.body.decode().split()[0]
    box.set(
        gpu(held[0], use=87, temp=64),
        gpu(held[1], use=42, temp=55),
        idle[free],
        idle[blocked],
        f"process {uuid(held[0])} {pid} 60996",
        f"process {uuid(held[1])} {pid} 23996",
        f"process {uuid(blocked)} 1 2150",
    )
    await until(lambda: server.rest.get("/v1/gpus"), lambda reply: b"pid 1" in reply.body)
    rest, _ = await server.clients(await server.key("ada", Role.USER))
    reply = await rest.submit({"job_name": "of-ada", "command": ["sleep", "1000"]})
    ids["of-ada"] = reply.json["id"]
    ids["experiment"], runs = await experiment(server, "Learning rates")
    ends = {
        "writes": server.submit(WRITES, job_name="writes", timeout_seconds=600),
        "learns": server.submit(LEARNS, job_name="learns"),
        "exits": server.submit("echo no data; exit 3", job_name="exits", max_retries=0),
        "killed": server.submit("kill -9 $$", job_name="killed", max_retries=0),
        "too-long": server.submit(
            "sleep 99", job_name="too-long", timeout_seconds=1, max_retries=0
        ),
        "no-program": server.submit(
            "", job_name="no-program", command=["/no/such/program"], max_retries=0
        ),
    }
    for name, submitted in ends.items():
        ids[name] = await submitted
    after = [{"task_id": ids["exits"]}]
    ids["depends"] = await server.submit("true", job_name="depends", after=after)
    await asyncio.gather(*(server.ended(ids[name]) for name in [*ends, "depends"]))
    ids["waits"] = await server.submit("true", job_name="waits", gpu=2, priority=8)
    ids["waits-too"] = await server.submit("true", job_name="waits-too", gpu=2)
    ids["sweep"] = await _sweep(server)
    logged = await _logged(server)
    return BusyHost(server, await server.key("eve", Role.VIEWER), ids, runs, logged, held)


def _has_line(log: Reply) -> bool:
    return b"\n" in log.body


async def _logged(server: Server) -> list[str]:
    """Six runs with curves."""
    ids = []
    for number in range(1, 7):
        run = await start_run(server, f"resnet lr={number / 10}")
        fall = [2 * math.exp(-step / (60 * number)) + 0.1 for step in range(400)]
        await run.log(
            {
                "train/loss": [
                    value * (1 + 0.1 * math.sin(step * step)) for step, value in enumerate(fall)
                ],
                "train/gradient": [
                    math.nan if 120 < step < 150 else 1 / (1 + step / 40) for step in range(400)
                ],
                "val/accuracy": [1 - value / 3 for value in fall],
            },
            params={"lr": str(number / 10), "optimizer": "adam"},
        )
        await run.log(
            {"val/loss": fall, "learning_rate": [1e-3 * 0.99**step for step in range(400)]}
        )
        await run.end()
        ids.append(run.id)
    return ids


async def _sweep(server: Server) -> str:
    command = 'echo "{\\"loss\\": $FETCHML_PARAM_LR}" > "$FETCHML_OUTPUTS/metrics.json"'
    request = {
        "name": "rates",
        "task": {"job_name": "swept", "command": ["sh", "-c", command]},
        "parameters": {"lr": {"values": [0.1, 0.2, 0.3]}, "seed": {"range": [1, 2]}},
    }
    return str((await server.rest.submit(request, "/v1/sweeps")).json["id"])


async def _remember_a_week(data_dir: Path) -> None:
    """Samples of the GPUs, one of which a task held on the third day."""
    now = time.time_ns() // 1_000_000
    first, last_hour = now - 7 * DAY_MS, now - DAY_MS // 24
    samples = [
        GpuSample(
            at=at,
            uuid=uuid(number),
            utilisation=(at // EVERY_MS * 7 + 25 * number) % 100,
            memory=8_000 * (number + 1),
            temperature=40 + number,
            power=200,
            held=number == 0,
        )
        for at in (*range(first, last_hour, EVERY_MS), *range(last_hour, now, SAMPLE_MS))
        for number in range(GPUS)
    ]
    held = GpuHold(uuid(0), "long-gone", "ada", first + 2 * DAY_MS, first + 3 * DAY_MS)
    opened = await open_store(data_dir)
    opened.store.usage.record(UsageBatch(now, gpus=samples, holds=[held]))
    await opened.store.close()
    assert opened.failures == []
