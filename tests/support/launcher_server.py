"""A server that starts attempts and is then killed: the process for tests of crashes.

    python server.py process|docker DATA_DIR ENGINE RUN_JSON... [--gate]

Prints `prepared` or, with --gate, `started`, and then lives until it is killed.
"""

import argparse
import asyncio
import signal
from pathlib import Path

import msgspec

from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.folder_events import FolderEvents
from fetchml.ports.launcher import Launcher, LaunchSpec
from tests.support.launcher_bench import INSTANCE, silent


async def serve(options: argparse.Namespace) -> None:
    run = msgspec.json.decode(options.run, type=LaunchSpec, dec_hook=lambda _, text: Path(text))
    async with FolderEvents() as watch:
        launcher: Launcher
        if options.launcher == "docker":
            launcher = DockerLauncher(options.data_dir, host=options.engine)
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
