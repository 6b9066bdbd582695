"""Train a small neural network on scikit-learn's handwritten digits, one line an epoch.

It needs scikit-learn and nothing else; the data come with it. The model, its metrics and their
curves go to `$FETCHML_OUTPUTS`, or to `outputs/` here when it runs without FetchML.
"""

import argparse
import json
import os
import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

BATCH = 2


def main() -> None:
    args = arguments()
    threadpool_limits(1)  # the matrices are small: a second thread costs more than it brings
    outputs = Path(os.environ.get("FETCHML_OUTPUTS", "outputs"))
    outputs.mkdir(parents=True, exist_ok=True)

    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images / 16.0, labels, test_size=0.25, random_state=args.seed, stratify=labels
    )
    print(f"{len(x_train)} digits to learn from, {len(x_test)} to be tested on", flush=True)

    model = MLPClassifier(
        hidden_layer_sizes=(args.hidden,),
        learning_rate_init=args.learning_rate,
        batch_size=BATCH,
        random_state=args.seed,
    )
    history = []
    # FetchML draws the curves of this file while it grows.
    lines = (outputs / "metrics.jsonl").open("w", buffering=1)
    for epoch in range(1, args.epochs + 1):
        began = time.perf_counter()
        model.partial_fit(x_train, y_train, classes=np.arange(10))
        took = time.perf_counter() - began
        loss = log_loss(y_train, model.predict_proba(x_train))
        accuracy = model.score(x_test, y_test)
        point = {"epoch": epoch, "loss": loss, "test_accuracy": accuracy}
        history.append(point)
        lines.write(json.dumps(point | {"time": time.time()}) + "\n")
        print(
            f"epoch {epoch:2d}/{args.epochs}  loss {loss:.4f}  "
            f"test accuracy {accuracy:6.2%}  {took:.2f} s",
            flush=True,
        )

    lines.close()
    joblib.dump(model, outputs / "model.joblib")
    metrics = {"test_accuracy": accuracy, "arguments": vars(args), "history": history}
    (outputs / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(f"test accuracy {accuracy:.2%}; model.joblib and metrics.json are saved")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Learn to read handwritten digits.")
    parser.add_argument("--epochs", type=positive, default=25)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--hidden", type=positive, default=256, help="neurons in the hidden layer")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


if __name__ == "__main__":
    main()
