"""The scripts of jobs, which Slurm stores. All else is in the attempt's start file."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from fetchml.adapters.slurm.start_files import OUTPUT, START
from fetchml.shim import CLAIM_EXISTS

_STEP = '"$SLURM_JOB_ID" "$SLURM_CPUS_ON_NODE" "$SLURM_CONF"'
"""Arguments of the start file, for containers that are steps of the job."""

_JOB_SCRIPT = """\
#!/bin/sh
exec env -i NODE="$SLURMD_NODENAME" GPUS="$CUDA_VISIBLE_DEVICES" \\
    NUMBERS="$SLURM_JOB_GPUS" /bin/sh {start} {step}
"""

_ARRAY_SCRIPT = """\
#!/bin/sh
case $SLURM_ARRAY_TASK_ID in
{folders}
*) false;;
esac || exit 125
[ -s {start} ] || exit {claim_exists}
exec >{output} 2>&1
exec env -i NODE="$SLURMD_NODENAME" GPUS="$CUDA_VISIBLE_DEVICES" \\
    NUMBERS="$SLURM_JOB_GPUS" /bin/sh ./{start} {step}
"""


def job_script(folder: Path) -> str:
    return _JOB_SCRIPT.format(start=quote(f"{folder}/{START}"), step=_STEP)


def array_script(folders: Mapping[int, Path]) -> str:
    """The script of an array, whose tasks find their attempts' folders by their indexes."""
    lines = (f"{index}) cd {quote(str(folder))};;" for index, folder in folders.items())
    return _ARRAY_SCRIPT.format(
        folders="\n".join(lines),
        output=OUTPUT,
        start=START,
        step=_STEP,
        claim_exists=CLAIM_EXISTS,
    )
