"""A server that starts attempts and is then killed: the process for tests of crashes.

    python server.py process|docker|slurm DATA_DIR ENGINE RUN_JSON... [--gate]

Prints `prepared` or, with --gate, `started`, and then lives until it is killed.
"""

import argparse
import asyncio
import os
import pwd
import signal
from pathlib import Path

import msgspec

from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.adapters.slurm.commands import CliTransport
from fetchml.adapters.slurm.launcher import SlurmLauncher, SlurmOptions
from fetchml.adapters.slurm.rest import RestTransport
from fetchml.adapters.slurm.tokens import Tokens
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.folder_events import FolderEvents
from fetchml.files.shared_disk import SharedFolders
from fetchml.ports.launcher import Launcher, LaunchSpec
from tests.support.launcher_bench import INSTANCE, silent


def slurm_launcher(engine: str, shared_dir: Path) -> SlurmLauncher:
    """`engine`: `cli`, or slurmrestd's URL and the file of the key for tokens."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    url, _, key = engine.partition(" ")
    over_rest = RestTransport(url, user, Tokens(user, None, Path(key)))
    transport = over_rest if key else CliTransport(user)
    owner = (os.geteuid(), os.getegid())
    return SlurmLauncher(SlurmOptions(shared_dir), transport, SharedFolders(), owner)


async def serve(options: argparse.Namespace) -> None:
    run = msgspec.json.decode(options.run, type=LaunchSpec, dec_hook=lambda _, text: Path(text))
    async with FolderEvents() as watch:
        launcher: Launcher
        if options.launcher == "docker":
            launcher = DockerLauncher(options.data_dir, host=options.engine)
        elif options.launcher == "slurm":
            launcher = slurm_launcher(options.engine, options.data_dir)
        else:
            launcher = ProcessLauncher(options.data_dir, watch)
        await launcher.open(INSTANCE, lambda _, __: None)
        await launcher.prepare(run, silent)
        if options.gate:
            AttemptFolder(run.folder).open_gate()
        print("started" if options.gate else "prepared", flush=True)
        signal.pause()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("launcher")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("engine")
    parser.add_argument("run")
    parser.add_argument("--gate", action="store_true")
    asyncio.run(serve(parser.parse_args()))
