"""A web server for tasks, with a page whose script sends a request and uses a WebSocket."""

WEB = r'''
import base64, hashlib, http.server, json, pathlib
PAGES = {
    "/": ("text/html", b"<script>location = '/page'</script>"),
    "/page": ("text/html", b"<p id=said></p><script src=page.js></script>"),
    "/page.js": ("text/javascript", b"""
        fetch("api", {method: "POST", body: "x"}).then(reply => reply.json()).then(reply => {
            const socket = new WebSocket(`ws://${location.host}/socket`);
            socket.onopen = () => socket.send("echoed");
            socket.onmessage = event => {
                document.getElementById("said").textContent = `${reply.method.toLowerCase()}ed, ` +
                    event.data;
            };
        });
    """),
}
class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        if self.headers.get("Upgrade"):
            return self.socket()
        if self.path in PAGES:
            return self.page(*PAGES[self.path])
        size = int(self.headers.get("Content-Length") or 0)
        body = json.dumps({
            "method": self.command, "path": self.path, "headers": self.headers.items(),
            "body": self.rfile.read(size).decode(),
        }).encode()
        self.send_response(200)
        for cookie in ("own=1", "wide=1; Domain=localhost", "fetchml-port=forged"):
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Clear-Site-Data", '"*"')
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def page(self, kind, text):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def socket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        head = self.rfile.read(6)
        data = self.rfile.read(head[1] & 127)
        data = bytes(each ^ head[2 + i % 4] for i, each in enumerate(data))
        self.wfile.write(bytes([0x81, len(data)]) + data)
        self.close_connection = True
web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
pathlib.Path("web-port").write_text(str(web.server_address[1]))
web.serve_forever()
'''
