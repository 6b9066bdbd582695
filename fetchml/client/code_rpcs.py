"""The RPCs of experiments and snapshots, as `fetchml.client.rpcs` has those of tasks."""

from google.protobuf.empty_pb2 import Empty

from fetchml.client.rpcs import Rpc
from fetchml.v1 import experiment_pb2, snapshot_pb2
from fetchml.v1.experiment_pb2 import Experiment
from fetchml.v1.snapshot_pb2 import Snapshot
from fetchml.v1.task_pb2 import FULL

# Experiments


def list_experiments() -> Rpc[experiment_pb2.ListExperimentsResponse]:
    request = experiment_pb2.ListExperimentsRequest(view=FULL)
    return Rpc("ExperimentService/ListExperiments", request, experiment_pb2.ListExperimentsResponse)


def create_experiment(name: str, description: str | None, commit_id: str | None) -> Rpc[Experiment]:
    """Raises ValueError for a value that does not fit its field."""
    request = experiment_pb2.CreateExperimentRequest(
        name=name, description=description, commit_id=commit_id, view=FULL
    )
    return Rpc("ExperimentService/CreateExperiment", request, Experiment, repeatable=False)


def get_experiment(experiment_id: str) -> Rpc[Experiment]:
    request = experiment_pb2.GetExperimentRequest(experiment_id=experiment_id, view=FULL)
    return Rpc("ExperimentService/GetExperiment", request, Experiment)


def archive_experiment(experiment_id: str) -> Rpc[Experiment]:
    request = experiment_pb2.ArchiveExperimentRequest(experiment_id=experiment_id, view=FULL)
    return Rpc("ExperimentService/ArchiveExperiment", request, Experiment)


def delete_experiment(experiment_id: str) -> Rpc[Empty]:
    request = experiment_pb2.DeleteExperimentRequest(experiment_id=experiment_id)
    return Rpc("ExperimentService/DeleteExperiment", request, Empty, deletes=True)


def list_experiment_results(
    experiment_id: str, limit: int | None, offset: int | None
) -> Rpc[experiment_pb2.ListExperimentResultsResponse]:
    request = experiment_pb2.ListExperimentResultsRequest(
        experiment_id=experiment_id, limit=limit, offset=offset
    )
    return Rpc(
        "ExperimentService/ListExperimentResults",
        request,
        experiment_pb2.ListExperimentResultsResponse,
    )


# Snapshots


def list_snapshot_files(
    snapshot_id: str, limit: int | None, offset: int | None
) -> Rpc[snapshot_pb2.ListSnapshotFilesResponse]:
    request = snapshot_pb2.ListSnapshotFilesRequest(
        snapshot_id=snapshot_id, limit=limit, offset=offset
    )
    return Rpc("SnapshotService/ListSnapshotFiles", request, snapshot_pb2.ListSnapshotFilesResponse)


def read_snapshot_file(snapshot_id: str, path: str) -> Rpc[snapshot_pb2.SnapshotFileChunk]:
    request = snapshot_pb2.ReadSnapshotFileRequest(snapshot_id=snapshot_id, path=path)
    return Rpc("SnapshotService/ReadSnapshotFile", request, snapshot_pb2.SnapshotFileChunk)


def list_snapshots() -> Rpc[snapshot_pb2.ListSnapshotsResponse]:
    request = snapshot_pb2.ListSnapshotsRequest()
    return Rpc("SnapshotService/ListSnapshots", request, snapshot_pb2.ListSnapshotsResponse)


def get_snapshot(snapshot_id: str) -> Rpc[Snapshot]:
    request = snapshot_pb2.GetSnapshotRequest(snapshot_id=snapshot_id)
    return Rpc("SnapshotService/GetSnapshot", request, Snapshot)


def upload_snapshot() -> Rpc[Snapshot]:
    return Rpc("SnapshotService/UploadSnapshot", snapshot_pb2.UploadSnapshotRequest(), Snapshot)


def delete_snapshot(snapshot_id: str) -> Rpc[Empty]:
    request = snapshot_pb2.DeleteSnapshotRequest(snapshot_id=snapshot_id)
    return Rpc("SnapshotService/DeleteSnapshot", request, Empty, deletes=True)
