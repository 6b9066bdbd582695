"""What a training does with MLflow, as its documentation shows it; prints what it read back."""

import json
import math
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

mlflow.set_experiment("demo")
with mlflow.start_run(run_name="first") as run:
    mlflow.log_params({"lr": 0.01, "depth": 3})
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metrics({"nan": math.nan, "inf": math.inf, "-inf": -math.inf})
    mlflow.set_tag("team", "vision")
    with mlflow.start_run(run_name="child", nested=True) as child:
        mlflow.log_metric("loss", 3)
    client = MlflowClient()
    run_id = run.info.run_id
    client.log_batch(
        run_id,
        [Metric("many", step, 1_000 + step, step) for step in range(1_000)],
        [Param(f"p{number}", "v") for number in range(90)],
        [RunTag("t", "u")],
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.txt").write_text("hello")
        Path(folder, "inner").mkdir()
        Path(folder, "inner/empty").touch()
        mlflow.log_artifacts(folder, "files")
    mlflow.log_dict({"x": 1}, "d.json")
    # Asynchronous logging, and a second value of the same step.
    mlflow.log_metric("later", 1, step=7, synchronous=False)
    mlflow.log_metric("later", 2, step=7, synchronous=False).wait()
    mlflow.flush_async_logging()

# A resumed run.
with mlflow.start_run(run_id=run_id):
    mlflow.log_metric("loss", 0.1, step=5)

refused = ""
try:
    client.log_param(run_id, "lr", "2")
except mlflow.MlflowException as error:
    refused = error.error_code

found = client.get_run(run_id)
wanted = "metrics.loss < 0.5 and params.lr = '0.01' and tags.team LIKE 'vis%'"
experiment = found.info.experiment_id
read = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="files/a.txt"))
print(
    json.dumps(
        {
            "run_id": run_id,
            "experiment": mlflow.get_experiment(experiment).name,
            "status": found.info.status,
            "metrics": {key: str(value) for key, value in found.data.metrics.items()},
            "params": len(found.data.params),
            "tags": {key: found.data.tags.get(key) for key in ("team", "t", "mlflow.runName")},
            "user": found.info.user_id,
            "parent_is_first": client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"]
            == run_id,
            "history": len(client.get_metric_history(run_id, "many")),
            "losses": [each.value for each in client.get_metric_history(run_id, "loss")],
            "found": [each.info.run_name for each in client.search_runs([experiment], wanted)],
            "newest_first": [each.info.run_name for each in client.search_runs([experiment])],
            "files": [[each.path, each.file_size] for each in client.list_artifacts(run_id)],
            "inside": [each.path for each in client.list_artifacts(run_id, "files/inner")],
            "content": read.read_text(),
            "refused": refused,
        }
    )
)
