"""Slurm's own time limit of a job that runs.

It is only a second one: the shim keeps the task's limit, Slurm's comes later. Anyone may shorten
their own job's; only an operator of the cluster may extend it, so where the server's account is
none, a task on the cluster gets no more time than its job has. The job's limit is asked for each
time: an operator may have extended it by hand.
"""

from fetchml.adapters.slurm.job import JobId
from fetchml.adapters.slurm.job_parameters import minutes_for, seconds_within
from fetchml.adapters.slurm.transports.transport import Refused, SlurmAway, SlurmTransport


async def permit(
    transport: SlurmTransport, job_id: JobId, timeout_ms: int, grace_ms: int, user: str = ""
) -> str | None:
    """Let a running job take so long, 0: without a limit. Return why it may not; `None` if it
    may. `user`: the account that it belongs to; empty for the server's own."""
    wanted, most = minutes_for(timeout_ms, grace_ms) if timeout_ms else None, 0
    try:
        present = await transport.time_limit(job_id, user)
        if present is None or (wanted is not None and wanted <= present):
            return None
        most = seconds_within(present, grace_ms)
        await transport.change_time_limit(job_id, wanted)
    except SlurmAway as error:
        return f"Slurm does not answer ({error}): try again later"
    except Refused as error:
        limit = wanted or "UNLIMITED"
        return (
            f"Slurm does not let its job {job_id} run longer ({error}): {most} s at most. An "
            f"operator of the cluster can extend the job: 'scontrol update JobId={job_id} "
            f"TimeLimit={limit}'. Then repeat the change"
        )
    return None
