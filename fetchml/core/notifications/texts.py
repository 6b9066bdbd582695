"""The message of a webhook in words, for channels that people read."""

import json
from typing import Any, NamedTuple


class Text(NamedTuple):
    title: str
    """One line."""
    text: str


def text_of(body: bytes) -> Text:
    """Return what a webhook's body reports. `body`: as the server has made it."""
    message: dict[str, Any] = json.loads(body)
    data = message["data"]
    if "task" in data:
        return _of_task(str(message["type"]).removeprefix("task."), data["task"], data["links"])
    if "sweep" in data:
        return _of_sweep(data["sweep"], data["links"])
    return Text("FetchML: a test message", str(data.get("message", "")))


def _of_task(event: str, task: dict[str, Any], links: dict[str, str]) -> Text:
    words = {"idle": "leaves its GPUs idle", "preempted": "made way for a more urgent task"}
    lines = [f"Task {task['id']} of {task['user_id']}"]
    if error := task.get("error"):
        lines.append(str(error))
    return Text(f"{task['job_name']} {words.get(event, event)}", "\n".join([*lines, links["page"]]))


def _of_sweep(sweep: dict[str, Any], links: dict[str, str]) -> Text:
    counts = ", ".join(f"{number} {status}" for status, number in sweep["counts"].items())
    return Text(f"Sweep {sweep.get('name', sweep['id'])} ended", f"{counts}\n{links['sweep']}")
