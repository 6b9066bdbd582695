"""The fields that REST and gRPC show of kept environments."""

from fetchml.api.mapping import Field, Mapping, Time
from fetchml.environments.kept import KeptEnvironment
from fetchml.v1 import environment_pb2

KEPT_ENVIRONMENT: Mapping[KeptEnvironment, environment_pb2.KeptEnvironment] = Mapping(
    environment_pb2.KeptEnvironment,
    Field("id", "record.id"),
    Field("user_id", "record.user"),
    Field("kind", "record.kind"),
    Field("path", "record.path"),
    Field("snapshot_id", "record.snapshot_id", keep_empty=False),
    Field("image", "record.image"),
    Field("bytes", "record.bytes"),
    Field("files", "record.files"),
    Field("tasks"),
    Time("created_at", "record.created_at"),
    Time("last_used_at", lambda kept: kept.record.used_ns // 1_000_000),
)
