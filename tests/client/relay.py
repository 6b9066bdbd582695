"""A relay between a client and a server, whose connections a test can cut."""

import contextlib
import socket
import threading


class Relay:
    """Listens on its own port, and forwards bytes to and from `server` (HOST:PORT)."""

    def __init__(self, server: str) -> None:
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._carried: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_down = False
        self._is_mute = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections. New ones are accepted."""
        with self._lock:
            carried, self._carried = self._carried, []
        for each in carried:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def down(self) -> None:
        """Refuse connections until `up`."""
        self._is_down = True
        self.cut()

    def mute(self) -> None:
        """Forward requests, but no replies, until `up`."""
        self._is_mute = True

    def up(self) -> None:
        self._is_down = False
        if self._is_mute:
            self.cut()  # Else the dropped bytes would be missing in the middle.
            self._is_mute = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._is_down:
                    near.close()
                    continue
                far = socket.create_connection(self._server)
                with self._lock:
                    self._carried += [near, far]
                for ends in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not (answers and self._is_mute):
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()
