"""The RPCs for the logs and outputs of tasks."""

from typing import TypedDict

from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.client.rpcs import Rpc
from fetchml.v1 import task_pb2


class LogSearch(TypedDict, total=False):
    """Options of a search in a log. proto/fetchml/v1/task.proto describes them."""

    attempt: int
    offset: int
    limit: int
    backwards: bool
    ignore_case: bool


def stream_logs(
    task_id: str,
    attempt: int | None,
    offset: int,
    *,
    follow: bool,
    tail: int | None = None,
    since: Timestamp | None = None,
) -> Rpc[task_pb2.TaskLogChunk]:
    request = task_pb2.StreamTaskLogsRequest(
        task_id=task_id, attempt=attempt, offset=offset, follow=follow, tail=tail, since=since
    )
    return Rpc("TaskService/StreamTaskLogs", request, task_pb2.TaskLogChunk)


def log_info(
    task_id: str, attempt: int | None, offset: int | None, limit: int | None
) -> Rpc[task_pb2.TaskLogInfo]:
    request = task_pb2.GetTaskLogInfoRequest(
        task_id=task_id, attempt=attempt, offset=offset, limit=limit
    )
    return Rpc("TaskService/GetTaskLogInfo", request, task_pb2.TaskLogInfo)


def search_logs(task_id: str, text: str, fields: LogSearch) -> Rpc[task_pb2.TaskLogMatches]:
    request = task_pb2.SearchTaskLogsRequest(task_id=task_id, q=text, **fields)
    return Rpc("TaskService/SearchTaskLogs", request, task_pb2.TaskLogMatches)


def list_outputs(task_id: str, folder: str = "") -> Rpc[task_pb2.TaskOutputs]:
    request = task_pb2.ListTaskOutputsRequest(task_id=task_id, folder=folder)
    return Rpc("TaskService/ListTaskOutputs", request, task_pb2.TaskOutputs)


def download_output(
    task_id: str, path: str, offset: int = 0, etag: str = "", folder: str = ""
) -> Rpc[task_pb2.TaskOutputChunk]:
    request = task_pb2.DownloadTaskOutputRequest(
        task_id=task_id, path=path, offset=offset, etag=etag, folder=folder
    )
    return Rpc("TaskService/DownloadTaskOutput", request, task_pb2.TaskOutputChunk)
