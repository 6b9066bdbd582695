"""Load over HTTP/1.1: wrk, from Debian. It takes less of a core than any server here, so that what
is measured is the server. The same client measures both sides of a ratio.
"""

import json
import shutil
import subprocess
import tempfile
from typing import NamedTuple

from benchmarks.figures import Load
from testbed import debian

COUNTER = "COUNTER"
"""In the body of a request: a number that grows from request to request, also from load to load. A
text that begins with it becomes a number."""
SLOT = "SLOT"
"""As `COUNTER`, but one of 64."""
SCRIPT = """
wrk.method = {method}
wrk.body = {body}
if wrk.body and wrk.body:find('"COUNTER') then
  local count = os.time() % 1000000 * 100000
  local body = wrk.body:gsub('"COUNTER(%d*)"', "COUNTER%1")
  request = function()
    count = count + 1
    local filled = body:gsub("COUNTER", string.format("%d", count)):gsub("SLOT", count % 64)
    return wrk.format(nil, nil, nil, filled)
  end
end
wrk.headers["X-API-Key"] = {key}
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency)
  local failed = 0
  for _, count in pairs(summary.errors) do failed = failed + count end
  local slowest = latency:percentile(99)
  print("done", failed, summary.requests, summary.duration, latency:percentile(50), slowest)
end
"""
MICROSECONDS = 1_000_000


class Request(NamedTuple):
    method: str
    path: str
    key: str
    body: dict[str, object] | None = None


def why_no_load() -> str | None:
    """What stands in the way, or None: wrk is there now."""
    if shutil.which("wrk") is None:
        try:
            debian.install("wrk")
        except RuntimeError as error:
            return str(error)
    return None


def http_load(address: str, request: Request, connections: int, seconds: int) -> Load:
    """Connections that each send the next request when they have their reply. What is under way at
    the end is not counted. Raises RuntimeError for any reply that is not a success."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            SCRIPT.format(
                method=json.dumps(request.method),
                key=json.dumps(request.key),
                body="nil" if request.body is None else json.dumps(json.dumps(request.body)),
            )
        )
        script.flush()
        command = ["wrk", "--threads", "1", "--connections", str(connections)]
        command += ["--duration", f"{seconds}s", "--timeout", "60s", "--script", script.name]
        url = f"http://{address}{request.path}"
        told = subprocess.run([*command, url], capture_output=True, check=True, text=True).stdout
    (line,) = [line for line in told.splitlines() if line.startswith("done\t")]
    failed, requests, took, p50, p99 = [float(number) for number in line.split("\t")[1:]]
    if failed or not requests:
        raise RuntimeError(f"{request.method} {url}: not all replies are a success\n{told}")
    return Load(
        int(requests),
        per_second=requests / took * MICROSECONDS,
        p50_ms=p50 / 1000,
        p99_ms=p99 / 1000,
    )
