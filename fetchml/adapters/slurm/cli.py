"""Slurm through its commands: for sites without slurmrestd."""

import asyncio
import os
import re
from contextlib import suppress
from datetime import datetime

from fetchml.adapters.slurm import nodes
from fetchml.adapters.slurm.job import Job, Submission
from fetchml.adapters.slurm.refusals import is_away, is_permanent
from fetchml.adapters.slurm.transport import CALL_SECONDS, Refused, SlurmAway, TryAgain
from fetchml.ports.cluster import Node

_SHELL = "#!/bin/sh\n"
"""The first line that `sbatch --wrap` adds itself."""
_COLUMNS = "%i|%T|%r|%N|%S|%j"
"""The name is last: another user's may hold any character."""
_AT_ONCE = 8
_CODE = re.compile(r"^\s*(?:Job)?ExitCode=(\d+):\d+|\bExitCode=(\d+):\d+", re.MULTILINE)


class CliTransport:
    def __init__(self, user: str) -> None:
        """`user`: the account whose jobs are followed."""
        self._user = user
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def open(self) -> str:
        _, out, _ = await self._run("scontrol", "ping")
        if "UP" not in out:
            raise SlurmAway(f"slurmctld does not answer: {' '.join(out.split()) or 'no reply'}")
        _, out, _ = await self._run("sinfo", "--version")
        return out.split()[-1] if out.split() else "of unknown version"

    async def submit(self, job: Submission) -> int:
        options = [
            "--parsable",
            "--export=NONE",
            "--no-requeue",
            "--ntasks=1",
            f"--job-name={job.name}",
            f"--chdir={job.folder}",
            f"--output={job.folder}/job.out",
            f"--nice={job.nice}",
        ]
        if job.cpus:
            options.append(f"--cpus-per-task={job.cpus}")
        if job.memory_mb:
            options.append(f"--mem={job.memory_mb}M")
        if job.gpus:
            options.append(f"--gres=gpu:{job.gpus}")
        if job.minutes:
            options.append(f"--time={job.minutes}")
        options += [
            f"--{name}={value}"
            for name in ("partition", "account", "qos", "constraint")
            if (value := getattr(job, name))
        ]
        # Not on stdin: a pipe to a command that has ended already is an error of its own.
        options.append(f"--wrap={job.script.removeprefix(_SHELL)}")
        code, out, errors = await self._run("sbatch", *options)
        number = out.strip().partition(";")[0]
        if code == 0 and number.isdecimal():
            return int(number)
        message = _plain(errors)
        if is_away(message) or not message:
            raise SlurmAway(message or "sbatch failed without a message")
        raise Refused(message, permanent=is_permanent(message))

    async def states(self) -> dict[int, Job]:
        return {job.id: job for job in await self._queue("--user", self._user)}

    async def job(self, job_id: int) -> Job | None:
        found = [job for job in await self._queue("--jobs", str(job_id)) if job.id == job_id]
        if not found or not found[0].is_over:
            return found[0] if found else None
        # squeue has no exit code.
        _, out, _ = await self._run("scontrol", "show", "job", str(job_id))
        codes = _CODE.search(out)
        code = next(filter(None, codes.groups())) if codes else None
        return None if not out else _with_code(found[0], code)

    async def named(self, prefix: str) -> list[Job]:
        jobs = (await self.states()).values()
        return [job for job in jobs if (job.name or "").startswith(prefix)]

    async def cancel(self, job_id: int) -> None:
        code, _, errors = await self._run("scancel", str(job_id))
        if code and is_away(errors):
            raise SlurmAway(_plain(errors))

    async def terminate(self, job_id: int) -> None:
        await self._signal(job_id, "TERM")

    async def warn(self, job_id: int) -> None:
        await self._signal(job_id, "USR1")

    async def _signal(self, job_id: int, name: str) -> None:
        code, _, errors = await self._run("scancel", "--batch", f"--signal={name}", str(job_id))
        if code and is_away(errors):
            raise SlurmAway(_plain(errors))
        if "try again" in errors or "transition" in errors:
            raise TryAgain

    async def nodes(self) -> list[Node]:
        code, out, errors = await self._run("scontrol", "show", "node", "-d", "--oneliner")
        if code:
            raise SlurmAway(_plain(errors))
        return nodes.of_scontrol(out)

    async def close(self) -> None:
        """Nothing is open between two commands."""

    async def _queue(self, *which: str) -> list[Job]:
        code, out, errors = await self._run(
            "squeue", "--noheader", "--array", "--states=all", *which, f"--format={_COLUMNS}"
        )
        if code and "Invalid job id" in errors:
            return []
        if code:
            raise SlurmAway(_plain(errors) or f"squeue ended with {code}")
        return [job for line in out.splitlines() if (job := _job(line)) is not None]

    async def _run(self, *command: str) -> tuple[int, str, str]:
        """Run a command; return its exit code, output and errors. Raises SlurmAway."""
        async with self._limit:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env={**os.environ, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"},
                )
            except OSError as error:
                raise SlurmAway(f"{command[0]} can't be run: {error.strerror}") from error
            return await _finish(process, command[0])


async def _finish(process: asyncio.subprocess.Process, command: str) -> tuple[int, str, str]:
    try:
        async with asyncio.timeout(CALL_SECONDS):
            out, errors = await process.communicate()
    except TimeoutError as error:
        raise SlurmAway(f"{command} did not end in {CALL_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(errors="replace"), errors.decode(errors="replace")


def _plain(errors: str) -> str:
    """Slurm's words without the name of the command."""
    lines = [line.rpartition("error: ")[2].strip() for line in errors.splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines)))


def _job(line: str) -> Job | None:
    parts = line.split("|", 5)
    if len(parts) < 6 or not parts[0].isdecimal():
        return None
    number, state, reason, nodes, begins, name = parts
    begins_at = None
    with suppress(ValueError):
        begins_at = int(datetime.fromisoformat(begins).timestamp())
    return Job(int(number), (state,), name, reason, nodes, begins_at=begins_at)


def _with_code(job: Job, code: str | None) -> Job:
    return Job(job.id, job.state, job.name, job.reason, job.nodes, int(code) if code else None)
