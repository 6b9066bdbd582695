"""`python -m tests.simulation FIRST [LAST]`: the simulations with these seeds."""

import os
import sys

from tests.simulation.simulation import run_apart

if os.environ.get("PYTHONHASHSEED") != "0":  # Sets of texts have another order in each process.
    os.execve(  # noqa: S606 - Python again
        sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
    )

first, last = int(sys.argv[1]), int(sys.argv[-1])
failed = 0
for seed in range(first, last + 1):
    if fault := run_apart(seed):
        failed += 1
        print(f"seed {seed}: {fault}", flush=True)
print(f"{last - first + 1} simulations, {failed} failed")
sys.exit(failed > 0)
