"""The server's memory comes from one arena of the C library."""

import subprocess
import sys

import pytest

THREADS = 8
COUNT = f"""
import ctypes, sys, threading
from fetchml.server.allocator import use_one_arena

c = ctypes.CDLL(None)
if sys.argv[1:] == ["limited"]:
    use_one_arena()
together = threading.Barrier({THREADS})

def allocate():
    together.wait()
    c.malloc(4096)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range({THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
c.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(c.fdopen(1, b"w"))
c.malloc_info(0, out)
c.fflush(out)
"""


@pytest.mark.parametrize("limit", ["limited", "unlimited"])
def test_threads_share_an_arena(limit: str) -> None:
    described = subprocess.check_output([sys.executable, "-c", COUNT, limit], text=True)
    assert (described.count("<heap nr=") == 1) == (limit == "limited")
