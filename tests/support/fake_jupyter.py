#!/usr/bin/env python3
"""What tests run in Jupyter's place: it serves the little that FetchML asks, on the socket in its
attempt's folder, and does what the files in its workspace say."""

import http.server
import json
import os
import socketserver
import sys
from pathlib import Path

if "--plain-process" in sys.argv:
    RUN = Path(os.environ["FETCHML_WORKSPACE"]).with_name("run")
    WORKSPACE = Path(os.environ["FETCHML_DATASETS"]) / "workspace"
else:
    RUN = Path("/.fetchml/run")
    WORKSPACE = Path("/workspace")
BASE = f"/jupyter/{os.environ['FETCHML_TASK_ID']}/api/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.headers["Authorization"] != f"token {os.environ['JUPYTER_TOKEN']}":
            self.send_error(403)
        elif (WORKSPACE / "silent").exists() and not self.path.endswith("/status"):
            self.send_error(500)
        else:
            kernels = WORKSPACE / "kernels.json"
            found = json.loads(kernels.read_text()) if kernels.exists() else []
            answers = {"status": {"pid": os.getpid()}, "kernels": found, "terminals": []}
            body = json.dumps(answers[self.path.removeprefix(BASE)]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: object) -> None: ...


if __name__ == "__main__":
    if (WORKSPACE / "dies").exists():
        print("first line\n\x1b[31mno such token: " + os.environ["JUPYTER_TOKEN"] + "\x1b[0m\n")
        sys.exit(3)
    (WORKSPACE / "pid").write_text(str(os.getpid()))
    os.chdir(RUN)  # The socket's path may be no longer than 107 bytes.
    socketserver.ThreadingUnixStreamServer("jupyter.sock", Handler).serve_forever()
