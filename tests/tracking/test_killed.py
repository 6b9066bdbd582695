"""kill -9 of a server to which clients log: nothing acknowledged is lost, and nothing is there
twice, though clients send again what had no answer."""

import subprocess
import sys
from pathlib import Path

from fetchml.ports.tracking_store import TrackingStore
from tests.support.stores import store_in
from tests.tracking.run_logger import RUNS, batch, run_id


def killed_after(data_dir: Path, first: int, batches: int) -> list[int]:
    """Run the program, kill it after so many answers; return the last batch of each run that was
    acknowledged, and the last change of tasks."""
    command = [sys.executable, "-m", "tests.tracking.run_logger", str(data_dir), str(first)]
    last = [first - 1] * RUNS + [0]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as logger:
        assert logger.stdout is not None
        for line in logger.stdout:
            number, _, each = line.partition(" ")
            if each.endswith("\n"):  # The last line may be cut.
                last[int(number)] = int(each)
                batches -= 1
            if batches == 0:
                logger.kill()
    assert batches <= 0, "it ended by itself"
    return last


async def test_no_acknowledged_point_is_lost_or_there_twice(tmp_path: Path) -> None:
    first = 0
    for batches in (40, 3, 80):
        *last, last_seq = killed_after(tmp_path, first, batches)
        async with store_in(tmp_path) as opened:
            assert opened.restored.last_seq >= last_seq
            assert sum(opened.restored.counts.values()) == opened.restored.last_seq
            for number in range(RUNS):
                await check(opened.store.tracking, number, last[number])
        # Some have an answer and are sent again all the same.
        first = max(0, min(last) - 2)


async def check(tracking: TrackingStore, number: int, last: int) -> None:
    stored = await tracking.load(run_id(number))
    if stored is None:
        assert last < 0
        return
    wanted = [point for each in range(last + 1) for point in batch(each)]
    for key in ("loss", "late", "still"):
        points = await tracking.history(run_id(number), key, limit=1 << 30, offset=0)
        found = [(point.step, point.at) for point in points]
        assert len(found) == len(set(found))
        acknowledged = {(point.step, point.at) for point in wanted if point.key == key}
        assert acknowledged <= set(found)
        # A call is there as a whole, or not at all.
        assert len(found) % 20 == 0
    view = await tracking.get(run_id(number))
    assert view is not None
    latest = {point.key: (point.step, point.at) for point in view.metrics}
    counts = {head.series.key: head.points for head in stored.heads}
    for key, count in counts.items():
        points = await tracking.history(run_id(number), key, limit=1 << 30, offset=0)
        assert (latest[key], count) == ((points[-1].step, points[-1].at), len(points))
    assert {f"param-{each}" for each in range(last + 1)} <= view.params.keys()
