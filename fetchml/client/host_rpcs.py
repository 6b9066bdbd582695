"""RPCs of the host: its queue, its server, its GPUs, and the history of their use."""

from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2

from fetchml.client.rpcs import Rpc
from fetchml.v1 import gpu_pb2, queue_pb2, server_pb2, usage_pb2
from fetchml.v1.gpu_pb2 import Gpu, GpuList
from fetchml.v1.queue_pb2 import QueueStats
from fetchml.v1.task_pb2 import FULL

# The queue and the server


def get_queue() -> Rpc[QueueStats]:
    return Rpc("QueueService/GetQueue", queue_pb2.GetQueueRequest(), QueueStats)


def watch_queue() -> Rpc[QueueStats]:
    return Rpc("QueueService/WatchQueue", queue_pb2.WatchQueueRequest(), QueueStats)


def list_waiting(limit: int | None) -> Rpc[queue_pb2.ListQueueResponse]:
    request = queue_pb2.ListQueueRequest(limit=limit, view=FULL)
    return Rpc("QueueService/ListQueue", request, queue_pb2.ListQueueResponse)


def get_server_info() -> Rpc[server_pb2.ServerInfo]:
    request = server_pb2.GetServerInfoRequest()
    return Rpc("ServerService/GetServerInfo", request, server_pb2.ServerInfo)


def run_doctor() -> Rpc[server_pb2.DoctorReport]:
    request = server_pb2.RunDoctorRequest()
    return Rpc("ServerService/RunDoctor", request, server_pb2.DoctorReport)


def check_health() -> Rpc[health_pb2.HealthCheckResponse]:
    request = health_pb2.HealthCheckRequest()
    return Rpc("grpc.health.v1.Health/Check", request, health_pb2.HealthCheckResponse)


# GPUs


def list_gpus() -> Rpc[GpuList]:
    return Rpc("GpuService/ListGpus", gpu_pb2.ListGpusRequest(), GpuList)


def watch_gpus() -> Rpc[GpuList]:
    return Rpc("GpuService/WatchGpus", gpu_pb2.WatchGpusRequest(), GpuList)


def drain_gpu(uuid: str) -> Rpc[Gpu]:
    return Rpc("GpuService/DrainGpu", gpu_pb2.DrainGpuRequest(uuid=uuid), Gpu)


def undrain_gpu(uuid: str) -> Rpc[Gpu]:
    return Rpc("GpuService/UndrainGpu", gpu_pb2.UndrainGpuRequest(uuid=uuid), Gpu)


# The history of use


def get_task_usage(
    task_id: str,
    since: Timestamp | None,
    until: Timestamp | None,
    points: int | None,
    attempt: int | None,
) -> Rpc[usage_pb2.TaskUsage]:
    request = usage_pb2.GetTaskUsageRequest(
        task_id=task_id, since=since, until=until, points=points, attempt=attempt
    )
    return Rpc("UsageService/GetTaskUsage", request, usage_pb2.TaskUsage)


def get_gpu_history(
    since: Timestamp | None, until: Timestamp | None, points: int | None
) -> Rpc[usage_pb2.GpuHistory]:
    request = usage_pb2.GetGpuHistoryRequest(since=since, until=until, points=points)
    return Rpc("UsageService/GetGpuHistory", request, usage_pb2.GpuHistory)


def list_gpu_hours(since: Timestamp | None, until: Timestamp | None) -> Rpc[usage_pb2.GpuHoursList]:
    request = usage_pb2.ListGpuHoursRequest(since=since, until=until)
    return Rpc("UsageService/ListGpuHours", request, usage_pb2.GpuHoursList)
