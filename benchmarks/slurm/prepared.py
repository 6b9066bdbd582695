"""Attempts that are ready to start: the floor of what a task takes on its node."""

from pathlib import Path

from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.job import Submission
from fetchml.adapters.slurm.job_requests import job_script
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import LaunchSpec


def prepared_scripts(folder: Path, count: int) -> list[str]:
    """Create attempts whose gates are open; return the scripts of their jobs."""
    folder.mkdir(mode=0o700, parents=True)
    shims = start_files.install_shims(folder)
    scripts = []
    for number in range(count):
        path = folder / "tasks" / str(number) / "attempts" / "1"
        path.mkdir(mode=0o700, parents=True)
        run = LaunchSpec(str(number), 1, "floor", path, "", ("true",), {})
        script = job_script(path)
        start_files.write(run, shims, Submission(f"floor-{number}", script, str(path)))
        AttemptFolder(path).open_gate()
        scripts.append(script)
    return scripts
