"""Trains a small neural network that may be killed at any time, and goes on from its checkpoint.

    fetchml submit --dir examples/checkpoint --checkpoint --warn-seconds 10 -- python train.py

It needs Python only. The model is the same, bit by bit, however often the training is killed: the
checkpoint holds all that the next step depends on, the random numbers' state included.
"""

import argparse
import json
import math
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

INPUTS, HIDDEN, BATCH = 2, 8, 16
RATE = 0.3


def initial_state(seed: int) -> dict[str, Any]:
    """Return all that a step depends on and changes."""
    dice = random.Random(seed)  # noqa: S311  # no secret
    return {
        "step": 0,
        "hidden": [[dice.gauss(0, 1) for _ in range(INPUTS + 1)] for _ in range(HIDDEN)],
        "output": [dice.gauss(0, 1) for _ in range(HIDDEN + 1)],
        "random": dice.getstate(),
    }


def train_step(state: dict[str, Any], dice: random.Random) -> float:
    """Learn whether points lie inside a circle; return the mean loss of the batch."""
    loss = 0.0
    for _ in range(BATCH):
        point = [dice.uniform(-1, 1), dice.uniform(-1, 1), 1.0]
        wanted = 1.0 if math.hypot(point[0], point[1]) < 0.7 else 0.0
        active = [math.tanh(sum(map(float.__mul__, row, point))) for row in state["hidden"]] + [1.0]
        found = 1 / (1 + math.exp(-sum(map(float.__mul__, state["output"], active))))
        loss -= math.log(max(found if wanted else 1 - found, 1e-12))
        wrong = found - wanted
        for index, row in enumerate(state["hidden"]):
            slope = wrong * state["output"][index] * (1 - active[index] ** 2)
            for place in range(INPUTS + 1):
                row[place] -= RATE / BATCH * slope * point[place]
        for index in range(HIDDEN + 1):
            state["output"][index] -= RATE / BATCH * wrong * active[index]
    state["step"] += 1
    return loss / BATCH


def save(state: dict[str, Any], path: Path) -> None:
    """Replace the checkpoint at once: a kill at any moment leaves the old one or the new one."""
    draft = path.with_suffix(".new")
    with draft.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def load(path: Path, seed: int) -> dict[str, Any]:
    if not path.exists():
        return initial_state(seed)
    state: dict[str, Any] = json.loads(path.read_text())
    version, numbers, following = state["random"]
    state["random"] = version, tuple(numbers), following
    print(f"resumed at step {state['step']}", flush=True)
    return state


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--every", type=int, default=20, help="steps between two checkpoints")
    parser.add_argument("--seconds", type=float, default=0.01, help="least time of a step")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    warned: list[int] = []
    # Soon the task is stopped: save after the present step, and go on until then.
    signal.signal(signal.SIGUSR1, lambda number, _: warned.append(number))

    checkpoint = Path(os.environ.get("FETCHML_CHECKPOINT", ".")) / "training.json"
    state = load(checkpoint, args.seed)
    dice = random.Random()  # noqa: S311  # no secret
    dice.setstate(state["random"])
    while state["step"] < args.steps:
        began = time.monotonic()
        loss = train_step(state, dice)
        state["random"] = dice.getstate()
        if state["step"] % args.every == 0 or warned:
            save(state, checkpoint)
            warned.clear()
        print(f"step {state['step']} loss {loss:.6f}", flush=True)
        time.sleep(max(0.0, args.seconds - (time.monotonic() - began)))
    model = {"hidden": state["hidden"], "output": state["output"]}
    outputs = Path(os.environ.get("FETCHML_OUTPUTS", "."))
    (outputs / "model.json").write_text(json.dumps(model))
    (outputs / "metrics.json").write_text(json.dumps({"loss": loss}))


if __name__ == "__main__":
    main()
