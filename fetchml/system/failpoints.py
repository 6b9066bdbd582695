"""Named steps at which a test can kill the server (`FETCHML_CRASH_AT=STEP`), like a power cut.

The steps of an attempt, in order: preparing, created (a container, not yet started), prepared,
gate_opened, started, ended, collected, finished, removed. A prestaged attempt continues from
prepared to ready, and then to its_turn and gate_opened, or to abandoned, claim_drafted (the
server's claim is not in its place), revoked, given_back (reported as never started) and removed. On
a cluster handing_over and handed_over come before prepared; of a group of tasks array_written and
array_submitted.

Of a booking: booking_stored, booking_reported (to the core; the caller has no answer yet), and
booking_removed from the store.

Of ending an attempt, as of an interrupt: stop_requested (nothing is sent yet), warned (SIGUSR1),
term_sent, kill_sent; then as above.

Of copying a checkpoint: checkpoint_written (not synced), checkpoint_copied (not in its place),
checkpoint_placed.

Of building an environment: environment_begun (its folder is there), environment_created (the
container of the build, not yet started), environment_started (uv runs), environment_installed,
environment_recorded (not in its place), environment_kept (no attempt holds it), environment_held.

`limit_changed`: another time limit of an attempt is durable, and its shim is not given it yet.

In a commit of documents and tasks together, as of a sweep: documents_put (no task is written yet),
tasks_put (not committed), committed (not answered).

`notified`: an attempt to send a message was made, and its result is not stored yet.
"""

import os
import signal

_crash_at = os.environ.get("FETCHML_CRASH_AT")


def reach(step: str) -> None:
    if step == _crash_at:
        os.kill(os.getpid(), signal.SIGKILL)
