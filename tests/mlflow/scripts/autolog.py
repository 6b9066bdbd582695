"""Scikit-learn's autolog, whose model is loaded again; prints what it left."""

import json

import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

mlflow.set_experiment("auto")
mlflow.sklearn.autolog()
features, labels = load_iris(return_X_y=True, as_frame=True)
with mlflow.start_run() as run:
    model = LogisticRegression(max_iter=200).fit(features, labels)
    accuracy = model.score(features, labels)
mlflow.sklearn.autolog(disable=True)

client = mlflow.MlflowClient()
found = client.get_run(run.info.run_id)
[logged] = mlflow.search_logged_models(
    experiment_ids=[found.info.experiment_id],
    filter_string="metrics.training_score > 0.5 and name = 'model'",
    order_by=[{"field_name": "metrics.training_score", "ascending": False}],
    output_format="list",
)
mlflow.set_logged_model_tags(logged.model_id, {"stage": "best"})
reloaded = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")
print(
    json.dumps(
        {
            "status": found.info.status,
            "metrics": sorted(found.data.metrics),
            "dataset": found.inputs.dataset_inputs[0].dataset.name,
            "outputs": [each.model_id for each in found.outputs.model_outputs] == [logged.model_id],
            "model": [logged.name, str(logged.status), len(logged.params)],
            "model_metrics": sorted(each.key for each in logged.metrics),
            "tags": mlflow.get_logged_model(logged.model_id).tags["stage"],
            "same": reloaded.score(features, labels) == accuracy,
        }
    )
)
