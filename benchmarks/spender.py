"""Takes processor time by a plan and does nothing else: the floor of what another program costs.

Standard input has one line of JSON: the length of a step in seconds, and for each thread its
processor time in each step.
"""

import hashlib
import json
import sys
import threading
import time

WORK = bytes(64 << 10)
"""It fits in a core's own cache: what is taken from others is processor time alone."""


def _spend(steps: list[float], step_seconds: float, began: float) -> None:
    """What a step can't have, since others have the processor, is spent later."""
    owed = 0.0
    for number, seconds in enumerate(steps):
        time.sleep(max(0.0, began + number * step_seconds - time.monotonic()))
        owed += seconds
        until = time.thread_time() + owed
        last = began + (number + 1) * step_seconds
        while (left := until - time.thread_time()) > 0 and time.monotonic() < last:
            hashlib.sha256(WORK).digest()  # It lets the other threads run meanwhile.
        owed = max(0.0, left)


def main() -> None:
    step_seconds, use = json.loads(sys.stdin.readline())
    print("begun", flush=True)
    began = time.monotonic()
    threads = [threading.Thread(target=_spend, args=(steps, step_seconds, began)) for steps in use]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
