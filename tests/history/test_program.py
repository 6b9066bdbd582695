"""Queries of the whole program: transports, the command line, its death, and clients that leave."""

import asyncio
import json
from pathlib import Path

import aiohttp
import duckdb
import msgspec
import pytest

from fetchml.system import processes
from fetchml.v1 import history_pb2
from fetchml.v1.history_pb2_grpc import HistoryServiceStub
from tests.history.test_ways_out import ENDLESS
from tests.support.cli_server import run
from tests.support.history_box import query_processes
from tests.support.program import Backend
from tests.support.rest_world import JSON
from tests.support.server_fixtures import Serve
from tests.support.waiting import until_true

pytestmark = pytest.mark.slow


async def test_all_ways_to_ask(serve: Serve, processes_backend: Backend, tmp_path: Path) -> None:
    server = await serve(processes_backend).start()
    task = await server.rest.submit({"job_name": "job", "command": ["true"]})
    await server.ended(task.json["id"])
    sql = "SELECT job_name, sum(priority) AS p, max(created_at) AS t FROM tasks GROUP BY job_name"
    rows = await server.rest.submit({"sql": sql}, "/v1/history/query")
    assert rows.status == 200
    assert [column["type"] for column in rows.json["columns"]] == [
        "VARCHAR",
        "HUGEINT",
        "TIMESTAMP",
    ]
    [[name, priority, time]] = rows.json["rows"]
    assert (name, priority, time[-1]) == ("job", 5, "Z")
    stub = HistoryServiceStub(server.grpc.channel)
    request = history_pb2.QueryHistoryRowsRequest(sql=sql)
    reply = await stub.QueryHistoryRows(request)
    assert [*reply.rows[0]] == [name, priority, time]
    variables = {
        "FETCHML_SERVER": server.grpc_address,
        "FETCHML_API_KEY": server.grpc.metadata[0][1],
    }

    def command(*words: str) -> str:
        return run(*words, **variables).succeeded()

    table = await asyncio.to_thread(command, "sql", sql)
    assert table.split()[:4] == ["job_name", "p", "t", "job"]
    [row] = json.loads(await asyncio.to_thread(command, "sql", "--json", sql))
    assert row == {"job_name": "job", "p": 5, "t": time.replace("000Z", "Z")}
    text = await asyncio.to_thread(command, "sql", "--csv", "SELECT 1 AS a, 'x,y' AS b")
    assert text == 'a,b\n1,"x,y"'
    await asyncio.to_thread(command, "export", "--parquet", str(tmp_path / "out"))
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert "tasks.parquet" in written
    found = duckdb.read_parquet(str(tmp_path / "out/tasks.parquet")).fetchall()
    assert len(found) == 1


async def test_the_process_of_a_query_ends_with_its_caller(
    serve: Serve, processes_backend: Backend
) -> None:
    server = await serve(processes_backend).start()
    body = msgspec.json.encode({"sql": ENDLESS})
    client = server.rest

    def begun() -> list[int]:
        return query_processes(server.pid)

    asked = client.session.post(
        client.url("/v1/history/query"), data=body, headers=client.with_key(JSON)
    )
    asking = asyncio.ensure_future(asked.__aenter__())
    await until_true(begun)
    asking.cancel()  # The client closes its connection.
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until_true(lambda: not begun())
    call = HistoryServiceStub(server.grpc.channel).QueryHistory(
        history_pb2.QueryHistoryRequest(sql=ENDLESS)
    )
    reading = asyncio.ensure_future(call.read())
    await until_true(begun)
    call.cancel()
    await asyncio.wait([reading])
    await until_true(lambda: not begun())
    again = asyncio.ensure_future(
        client.session.post(
            client.url("/v1/history/query"), data=body, headers=client.with_key(JSON)
        ).__aenter__()
    )
    await until_true(begun)
    [pid] = begun()
    await server.kill()
    with pytest.raises(aiohttp.ClientError):
        await again
    await until_true(lambda: processes.find(pid) is None)
    assert list((server.data_dir / "history").iterdir())
    await server.start()
    assert not list((server.data_dir / "history").iterdir())
