"""The table of operations: its rows fit their RPCs, and messages become the arguments of calls."""

import inspect
from typing import Any
from unittest.mock import Mock

from fetchml.api.operation import Operation
from fetchml.api.operation_table import operations
from fetchml.core.requests.checks import MAX_ITEMS
from fetchml.v1 import audit_pb2, key_pb2, notification_pb2, storage_pb2
from tests.support.engine_box import ALICE
from tests.support.memory_engine import memory_engine


async def arguments_of(proto: Any, name: str, request: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return what the function of a row is called with for a message."""
    (service,) = proto.DESCRIPTOR.services_by_name.values()
    called = Mock(return_value=None)
    await Operation(service.methods_by_name[name], called).answer(ALICE, request)
    (call,) = called.call_args_list
    return [*call.args[1:]], dict(call.kwargs)


async def test_functions_take_the_parameters_of_their_rpcs() -> None:
    async with memory_engine() as memory:
        rows = operations(Mock(engine=memory.engine, audit=memory.parts.audit))
        assert len({row.rpc.full_name for row in rows}) == len(rows)
        for row in rows:
            given: tuple[object, ...] = (ALICE, *row.in_path)
            named = {"user" if each.name == "user_id" else each.name: None for each in row.fields}
            if row.has_body:
                given, named = (*given, {}), {}
            inspect.signature(row.call).bind(*given, **named)
            if row.reply is None:
                assert row.rpc.output_type.name == "Empty", row.rpc.name


async def test_absent_parameters_are_none() -> None:
    absent = audit_pb2.ListAuditRequest()
    names = ("user", "action", "target", "since", "before", "limit")
    assert await arguments_of(audit_pb2, "ListAudit", absent) == ([], dict.fromkeys(names))
    given = audit_pb2.ListAuditRequest(user_id="ada", limit=0)
    given.since.FromMilliseconds(1_500)
    _, named = await arguments_of(audit_pb2, "ListAudit", given)
    assert named == {**dict.fromkeys(names), "user": "ada", "since": 1_500, "limit": 0}


async def test_bodies_have_the_shape_of_json() -> None:
    key = key_pb2.CreateKeyRequest(name="ada", role="admin")
    key.expires_at.FromMilliseconds(1_500)
    (body,), _ = await arguments_of(key_pb2, "CreateKey", key)
    assert body == {"name": "ada", "role": "admin", "expires_at": "1970-01-01T00:00:01.500Z"}
    (body,), _ = await arguments_of(key_pb2, "CreateKey", key_pb2.CreateKeyRequest())
    assert body == {"name": "", "role": "role_unspecified"}, "required fields are there"
    (body,), _ = await arguments_of(
        storage_pb2, "PruneStorage", storage_pb2.PruneStorageRequest(apply=False)
    )
    assert body == {"apply": False}


async def test_wrong_values_stay_wrong_and_short() -> None:
    wrong = notification_pb2.SetNotificationSettingsRequest()
    wrong.notify.add(url="http://a/", on=[99])
    (body,), _ = await arguments_of(notification_pb2, "SetNotificationSettings", wrong)
    assert body == {"notify": [{"url": "http://a/", "on": ["99"]}]}
    many = storage_pb2.PruneStorageRequest(kinds=["tasks"] * (MAX_ITEMS + 5))
    (body,), _ = await arguments_of(storage_pb2, "PruneStorage", many)
    assert len(body["kinds"]) == MAX_ITEMS + 1
