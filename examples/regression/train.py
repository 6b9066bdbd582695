"""Fit a line to noisy points by gradient descent, and keep the result in the outputs."""

import json
import os
from pathlib import Path

import numpy as np

random = np.random.default_rng(7)
x = random.uniform(-1, 1, 1000)
y = 3 * x + 1 + random.normal(0, 0.1, x.size)

slope = bias = 0.0
for epoch in range(1, 51):
    error = slope * x + bias - y
    slope -= 0.5 * (error * x).mean()
    bias -= 0.5 * error.mean()
    if epoch % 10 == 0:
        print(f"epoch {epoch}: loss {(error**2).mean():.4f}", flush=True)

print(f"y = {slope:.2f} x + {bias:.2f}")
outputs = Path(os.environ["FETCHML_OUTPUTS"])
(outputs / "metrics.json").write_text(json.dumps({"slope": slope, "bias": bias}))
np.save(outputs / "model.npy", np.array([slope, bias]))
