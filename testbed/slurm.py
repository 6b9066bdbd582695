"""A private Slurm on this machine: slurmctld, three slurmd and slurmrestd, for tests.

Nodes g1 and g2 have two GPUs each (devices that are copies of /dev/null); c3 has none. Needs root,
since each daemon has a mount namespace of its own: Slurm's sockets have fixed paths below /run.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from fetchml.adapters.slurm.tokens import make_token
from testbed import debian, slurm_accounting
from testbed.patience import SECONDS
from testbed.slurm_accounting import Database

PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurmrestd",
    "slurm-client",
    "slurm-wlm-jwt-plugin",
)
END_SECONDS = 5
NODES = ("g1", "g2", "c3")
CLUSTER = "testbed"

_CONF = """\
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
AuthType=auth/slurm
CredType=cred/slurm
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={etc}/jwt.key
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/ctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0
KillWait=5
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
BACKUP = (
    "SlurmctldHost=backup(127.0.0.2)",
    "CommunicationParameters=NoCtldInAddrAny",
    "SlurmctldTimeout=4",
)
"""Settings of a cluster with a second slurmctld, which has the state of the first one."""
CGROUPS = "[ ! -d /sys/fs/cgroup/unified ] || mount -t cgroup2 none /sys/fs/cgroup; "
"""Lines of a shell in a mount namespace of its own. Where both versions of cgroups are mounted,
crun starts no container."""


class Slurm:
    """A Slurm cluster of a test's own, whose daemons it may kill and start again."""

    def __init__(
        self,
        folder: Path,
        settings: Sequence[str] = (),
        programs: Mapping[Path, Path] = MappingProxyType({}),
        *,
        accounting: bool = False,
    ) -> None:
        """`settings`: more lines of slurm.conf. `programs`: files that nodes have in the place of
        others, by the paths of those. `accounting`: with slurmdbd, which knows no user but root,
        in the account `root`."""
        self._programs = programs
        self.folder = folder
        self._etc = folder / "etc"
        self._settings = settings
        self._database = Database(folder) if accounting else None
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._rest_port = 0
        self._first_id = 0
        self._token = ""

    @property
    def url(self) -> str:
        """The address of slurmrestd."""
        return f"http://127.0.0.1:{self._rest_port}"

    @property
    def jwt_key(self) -> Path:
        return self._etc / "jwt.key"

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment of Slurm's commands. They need a token, since the controller's socket for
        them is in a mount namespace of its own."""
        return {"SLURM_CONF": str(self._etc / "slurm.conf"), "SLURM_JWT": self._token}

    def run(self, *command: str, check: bool = True, **options: str) -> str:
        """Run one of Slurm's commands; return what it printed."""
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **self.variables},
            timeout=SECONDS,
            **options,  # type: ignore[call-overload]
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return str(done.stdout)

    def jobs(self) -> list[str]:
        """Names of the jobs that are not over."""
        return self.run("squeue", "--noheader", "--array", "--format=%j").split()

    def jobs_below(self, folder: Path) -> list[str]:
        """Ids of the jobs that are not over and work below a folder; an array has one."""
        rows = self.run("squeue", "--noheader", "--format=%F %Z").splitlines()
        found = (row.partition(" ") for row in rows)
        return [number for number, _, path in found if Path(path).is_relative_to(folder)]

    def cancel_below(self, folder: Path) -> None:
        """Cancel the jobs that work below a folder, unless slurmctld was killed."""
        if "slurmctld" in self._daemons and (numbers := self.jobs_below(folder)):
            self.run("scancel", *numbers)

    def submitted(self) -> int:
        """Return how many jobs slurmctld has taken since its start; an array's tasks count. It
        costs less than a list of them."""
        (count,) = re.findall(r"Jobs submitted:\s*([0-9]+)", self.run("sdiag"))
        return int(count)

    def start(self) -> None:
        """Start all daemons, and return when they answer."""
        self._make_files()
        if self._database is not None:
            self._start_accounting(self._database)
        for name in ("slurmctld", *NODES, "slurmrestd"):
            self.start_daemon(name)
        self.until(lambda: "UP" in self.run("scontrol", "ping", check=False), "slurmctld")
        self.until_idle()
        self.until(self._rest_answers, "slurmrestd")

    def _start_accounting(self, database: Database) -> None:
        database.start()
        self.until(database.is_ready, "MariaDB")
        self.start_daemon("slurmdbd")
        added = ("sacctmgr", "--immediate", "add", "cluster", CLUSTER)
        self.until(lambda: CLUSTER in self.run(*added, check=False), "slurmdbd")

    def until_idle(self) -> None:
        """Return when all nodes take work."""
        names = ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
        self.until(
            lambda: len(set(self.run(*names, check=False).split())) == len(NODES), "the nodes"
        )

    def start_daemon(self, name: str) -> None:
        """Start `slurmctld`, `slurmrestd`, `slurmdbd`, `backup` (of slurmctld, see `BACKUP`), or a
        node by its name."""
        match name:
            case "slurmctld":
                command = ["slurmctld", "-D", "-i"]
            case "slurmrestd":
                command = ["slurmrestd", "-u", "nobody", "-g", "nogroup", "-a", "rest_auth/jwt"]
                command += ["-s", "openapi/slurmctld", f"127.0.0.1:{self._rest_port}"]
            case "slurmdbd":
                command = ["slurmdbd", "-D"]
            case "backup":
                command = ["slurmctld", "-D"]
            case _:
                command = ["slurmd", "-D", "-N", name]
        own = self.folder / "sack" / name
        own.mkdir(exist_ok=True)
        mounts = 'for d in slurm slurmctld slurmdbd; do mount --bind "$0" /run/$d; done; '
        mounts += CGROUPS
        for path, program in self._programs.items():
            mounts += f"mount --bind {program} {path}; "
        if name == "backup":  # A controller knows its place by the name of its host.
            (own / "hosts").write_text("127.0.0.2 backup\n")
            mounts += f"hostname backup; mount --bind {own}/hosts /etc/hosts; "
            mounts += f"mount --bind {own} {self.folder}/run; "
        mounts += 'exec "$@"'
        variables = {k: v for k, v in os.environ.items() if k != "SLURM_JWT"}
        variables["SLURM_CONF"] = self.variables["SLURM_CONF"]
        if name == "slurmrestd":
            # Only this daemon: in the others the variable changes how they authenticate.
            variables |= {"SLURMRESTD_SECURITY": "disable_user_check", "SLURM_JWT": "daemon"}
        if name == "slurmdbd" and self._database is not None:
            variables["MYSQL_UNIX_PORT"] = str(self._database.socket)
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [
                    "unshare",
                    "-m",
                    "--uts",
                    "--propagation",
                    "slave",
                    "sh",
                    "-c",
                    mounts,
                    own,
                    *command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=variables,
                start_new_session=True,
            )

    def inside(self, name: str) -> list[str]:
        """Return a command that runs another one in the mount namespace of a daemon."""
        return ["nsenter", "--mount", f"--target={self._daemons[name].pid}"]

    def kill_daemon(self, name: str) -> None:
        """End a daemon with SIGKILL. Jobs of a node go on."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait(SECONDS)

    def lose_node(self, name: str) -> None:
        """Kill a node's daemon, and let slurmctld give the node and its jobs up at once. A short
        SlurmdTimeout would do that too, but to all nodes of a busy machine."""
        self.kill_daemon(name)
        # Drained too: an answer that is under way would return it to service.
        for state in ("DRAIN", "DOWN"):
            self.run("scontrol", "update", f"NodeName={name}", f"State={state}", "Reason=silent")

    def pause_daemon(self, name: str, *, go_on: bool = False) -> None:
        """Stop a daemon in its tracks, so that it neither answers nor ends; or let it go on."""
        self._daemons[name].send_signal(signal.SIGCONT if go_on else signal.SIGSTOP)

    @contextmanager
    def remembered(self) -> Iterator[None]:
        """At the end slurmctld, which must be killed until then, has the state of the beginning.

        Killed at any other time it would have that of its last save, a few seconds ago: jobs of an
        earlier test come back as running ones, and keep the nodes for minutes.
        """
        self.run("scontrol", "shutdown", "slurmctld")
        self._daemons.pop("slurmctld").wait(SECONDS)
        state, copy = self.folder / "state", self.folder / "state.copy"
        shutil.copytree(state, copy)
        self.restart_controller()
        yield
        shutil.rmtree(state)
        copy.rename(state)

    def cpu_seconds(self, name: str) -> float:
        """Return the processor time of a daemon so far."""
        stat = Path(f"/proc/{self._daemons[name].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def restart_controller(self) -> None:
        """Start slurmctld after it was killed.

        It would give the ids of jobs that it forgot out again, and a node that still has such a job
        takes the next one for a duplicate and is drained. So it begins with higher ids.
        """
        self._first_id += 10_000
        conf = self._etc / "slurm.conf"
        lines = [each for each in conf.read_text().splitlines() if "FirstJobId=" not in each]
        conf.write_text("\n".join([*lines, f"FirstJobId={self._first_id}", ""]))
        self.start_daemon("slurmctld")
        self.until(lambda: "UP" in self.run("scontrol", "ping", check=False), "slurmctld")

    def repair(self) -> None:
        """Start what was killed, and return when there is no job and all nodes take work."""
        for name in ("slurmctld", *NODES, "slurmrestd"):
            if name in self._daemons:
                self.pause_daemon(name, go_on=True)
            elif name == "slurmctld":
                self.restart_controller()
            else:
                self.start_daemon(name)
        self.until(lambda: "UP" in self.run("scontrol", "ping", check=False), "slurmctld")
        self.run("scontrol", "update", "PartitionName=main", "State=UP")
        for name in NODES:  # An error where it is in service.
            self.run("scontrol", "update", f"NodeName={name}", "State=RESUME", check=False)
        self.until(self._end_jobs, "the end of all jobs")
        self.until_idle()
        self.until(self._rest_answers, "slurmrestd")

    def _end_jobs(self) -> bool:
        """Whether there are none. The last submit of a server that was killed may come late."""
        self.run("scancel", "--user=root")
        return not self.jobs()

    def end(self) -> None:
        """End all daemons and what they have started."""
        with suppress(AssertionError, subprocess.TimeoutExpired):
            if "slurmctld" in self._daemons:
                self.run("scancel", "--user=root", check=False)
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGCONT)
            daemon.terminate()
        for daemon in self._daemons.values():
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(END_SECONDS)
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()
        for pid in self._own_processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._database is not None:
            self._database.end()

    def _own_processes(self) -> list[int]:
        """Daemons and steps that have a file of this cluster open."""
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal():
                continue
            with suppress(OSError):
                if not (process / "comm").read_text().startswith("slurm"):
                    continue
                opened = (link.readlink() for link in (process / "fd").iterdir())
                if any(path.is_relative_to(self.folder) for path in opened):
                    found.append(int(process.name))
        return found

    def _make_files(self) -> None:
        for name in ("etc", "run", "log", "state", "spool", "dev", "sack"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)
        for path in ("/run/slurm", "/run/slurmctld", "/run/slurmdbd"):
            Path(path).mkdir(exist_ok=True)
        for name in ("slurm", "jwt"):
            key = self._etc / f"{name}.key"
            key.write_bytes(os.urandom(256))
            key.chmod(0o600)
        self._token = make_token(self.jwt_key.read_bytes(), "root", int(time.time()), 86_400)
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(len(NODES) + 3)]
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        host = socket.gethostname().partition(".")[0]
        nodes, gres = [], []
        for name, port in zip(NODES, ports[3:], strict=True):
            line = f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            line += "CPUs=8 RealMemory=8000"
            if name.startswith("g"):
                for number in range(2):
                    os.mknod(self.folder / "dev" / f"{name}-{number}", 0o20666, os.makedev(1, 3))
                gres.append(f"NodeName={name} Name=gpu File={self.folder}/dev/{name}-[0-1]\n")
                line += " Gres=gpu:2"
            nodes.append(line)
        self._rest_port = ports[1]
        conf = _CONF.format(
            cluster=CLUSTER,
            host=host,
            ctld=ports[0],
            etc=self._etc,
            folder=self.folder,
            nodes="\n".join(nodes),
        )
        settings = [*self._settings]
        if self._database is not None:
            settings += [*slurm_accounting.SETTINGS, f"AccountingStoragePort={ports[2]}"]
            own = self._etc / "slurmdbd.conf"
            own.write_text(slurm_accounting.slurmdbd_conf(self.folder, ports[2]))
            own.chmod(0o600)
        (self._etc / "slurm.conf").write_text(conf + "".join(f"{s}\n" for s in settings))
        (self._etc / "gres.conf").write_text("".join(gres))
        (self._etc / "cgroup.conf").write_text("CgroupPlugin=disabled\n")

    def _rest_answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._rest_port), 1):
            return True
        return False

    def until(self, condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        """Wait for a condition that Slurm does not announce. `what` is shown on failure."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not yet: {what}; see {self.folder}/log"
            time.sleep(0.05)


def install() -> None:
    """Install Debian's Slurm where there is none."""
    if not shutil.which("slurmrestd"):
        debian.install(*PACKAGES)


@contextmanager
def private_slurm(
    *settings: str,
    programs: Mapping[Path, Path] = MappingProxyType({}),
    accounting: bool = False,
) -> Iterator[Slurm]:
    """Run a cluster; afterwards nothing of it is left."""
    install()
    if accounting:
        slurm_accounting.install()
    folder = Path(tempfile.mkdtemp(prefix="fmlslurm", dir="/tmp"))
    slurm = Slurm(folder, settings, programs, accounting=accounting)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.end()
        shutil.rmtree(folder, ignore_errors=True)
