"""The fields that REST and gRPC show of kept environments."""

from fetchml.api.mapping import Field, LongRows, Mapping, Time
from fetchml.environments.environment_service import EnvironmentPage, KeptEnvironment
from fetchml.v1 import environment_pb2

KEPT_ENVIRONMENT: Mapping[KeptEnvironment, environment_pb2.KeptEnvironment] = Mapping(
    environment_pb2.KeptEnvironment,
    Field("user_id", "record.user"),
    Field("snapshot_id", "record.snapshot_id", keep_empty=False),
    Field("tasks"),
    Time("last_used_at", lambda kept: kept.record.used_ns // 1_000_000),
    of="record",
)

ENVIRONMENTS: Mapping[EnvironmentPage, environment_pb2.ListEnvironmentsResponse] = Mapping(
    environment_pb2.ListEnvironmentsResponse, LongRows("environments", KEPT_ENVIRONMENT)
)
