"""`python -m tests.simulation.replays FIRST LAST`: replays of what simulated servers recorded.

The servers are not killed and nothing fails from outside, since the journal has none of that.
Attempts fail, are stopped, preempted and discarded as in any simulation.
"""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

from fetchml.core.model import Change
from fetchml.core.state import Limits
from fetchml.core.whatif.replay import Host
from fetchml.core.whatif.whatif import Question, WhatIf, what_if
from tests.simulation.simulation import Simulation


class CalmSimulation(Simulation):
    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.most_lives = 1

    async def _faults(self) -> None:
        await asyncio.Event().wait()


def replayed(journal: list[Change], limits: Limits, since: int) -> WhatIf:
    before = {change.task.id: change.task for change in journal if change.at <= since}
    changes = [(each.seq, each.at, each.task) for each in journal if each.at > since]
    host = Host(limits, limits.capacity.gpu, (), (), ())
    return what_if(Question(since, journal[-1].at, host, host), [*before.values()], changes)


def main() -> None:
    """Print the numbers of starts and of those that came back, of each replay."""
    logging.disable(logging.CRITICAL)
    for seed in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
        with (
            tempfile.TemporaryDirectory(prefix="simulation-") as folder,
            # The times of files are real ones.
            patch("fetchml.files.attempt_folder.AttemptFolder.opened_at", return_value=None),
        ):
            simulation = CalmSimulation(seed, Path(folder))
            simulation.run()
        journal = simulation.store.journal
        for since in (0, journal[len(journal) // 2].at):
            found = replayed(journal, simulation.limits, since)
            print("whole" if since == 0 else "half", found.starts, found.same_starts, seed)


if __name__ == "__main__":
    main()
