"""Named steps at which a test may kill the server (`FETCHML_CRASH_AT=STEP`), as a power cut would.

The steps of an attempt, in order: preparing, created (a container, not yet started), prepared,
gate_opened, started, ended, collected, finished, removed. One that is made ready ahead comes from
prepared to ready, and from there to its_turn and gate_opened, or to abandoned, revoked and removed.
"""

import os
import signal

_crash_at = os.environ.get("FETCHML_CRASH_AT")


def reach(step: str) -> None:
    if step == _crash_at:
        os.kill(os.getpid(), signal.SIGKILL)
