"""`make bench`, or `python -m benchmarks NAME…` for some of them."""

import argparse
from functools import partial

from benchmarks import (
    containers,
    environments,
    envoy,
    executable,
    gpu_gap,
    grpc_creates,
    health,
    history,
    hostile,
    page,
    queries,
    rest_submits,
    scheduling,
    slurm,
    submits,
    sweeps,
    throughput,
    tracking,
    training,
    usage,
)
from benchmarks.figures import Figure, machine, print_table
from benchmarks.peers import trackers

BENCHMARKS = {
    "rest": rest_submits.run,
    "grpc": grpc_creates.run,
    "envoy": envoy.run,
    "history": history.run,
    "health": health.run,
    "scheduling": scheduling.run,
    "containers": containers.run,
    "executable": executable.run,
    "throughput": throughput.run,
    "gpu_gap": gpu_gap.run,
    "usage": usage.run,
    "tracking": tracking.run,
    "trackers": trackers.run,
    "queries": queries.run,
    "page": page.run,
    "sweeps": sweeps.run,
    "environments": environments.run,
    "training": training.run,
    "slurm": slurm.run,
    "hostile": hostile.run,
}


def main() -> None:
    known = ", ".join([*BENCHMARKS, "submits"])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure FetchML.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=known)
    help_base = "the revision that `submits` compares with"
    parser.add_argument("--base", default=submits.BASE, metavar="REV", help=help_base)
    asked = parser.parse_args()
    names = asked.names or list(BENCHMARKS)
    title = machine()
    figures: list[Figure] = []
    for name in names:
        run = partial(submits.run, asked.base) if name == "submits" else BENCHMARKS[name]
        for figure in run():
            print(f"{figure.claim}: {figure.measured}", flush=True)
            figures.append(figure)
    print_table(title, figures)


if __name__ == "__main__":
    main()
