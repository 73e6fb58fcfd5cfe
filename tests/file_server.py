"""A server of files on this machine that behaves, or misbehaves, as a test says."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from zoo_core.spec import WeightsFile

DATA = bytes(range(256)) * 1024  # 256 kB, more than one read
TESTS = Path(__file__).parent

Behave = Callable[["Visit"], None]


class Visit(BaseHTTPRequestHandler):
    """One request; a behavior answers it."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.requests.append(self)
        behaviors = self.server.behaviors.get(self.path, [self.not_found])
        behave = behaviors.pop(0) if len(behaviors) > 1 else behaviors[0]
        with contextlib.suppress(ConnectionError):
            behave(self)

    def not_found(self, _: Visit) -> None:
        self.answer(404, b"no such file")

    def answer(self, status: int = 200, body: bytes = b"", **headers: object) -> None:
        """Send a status, headers (`_` for `-`, None for none of that name) and a body."""
        self.send_response(status)
        for key, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        self.send(body)

    def send(self, body: bytes) -> None:
        """Send a part of a body, and count it."""
        self.wfile.write(body)
        self.server.sent += len(body)

    @property
    def start(self) -> int:
        """The position that a Range header asks for."""
        found = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def answer_range(self, data: bytes, until: int | None = None) -> None:
        """Send what is asked for, and break off before byte `until`."""
        rest = data[self.start :]
        where = f"bytes {self.start}-{len(data) - 1}/{len(data)}"
        more = {"Content_Range": where} if "Range" in self.headers else {}
        self.answer(206 if more else 200, b"", Content_Length=len(rest), **more)
        self.send(rest if until is None else data[self.start : until])

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Files by path; each has a list of behaviors, of which the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.behaviors: dict[str, list[Behave]] = {}
        self.requests: list[Visit] = []
        self.sent = 0  # bytes of bodies

    def serve(self, path: str, *behaviors: bytes | Behave) -> str:
        """Answer requests for a path, and return its url."""
        self.behaviors[path] = [
            (lambda visit, data=each: visit.answer_range(data)) if isinstance(each, bytes) else each
            for each in behaviors
        ]
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, *_: object) -> None:
        pass  # a client that goes away is not worth a traceback


@contextlib.contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def registered(*urls: str, data: bytes = DATA, size: int | None = None) -> WeightsFile:
    digest = hashlib.sha256(data).hexdigest()
    return WeightsFile(urls=urls, sha256=digest, size=size or len(data))


def reset(connection: socket.socket) -> None:
    """Close a connection with a reset in place of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def python(program: str, *arguments: object, **options) -> subprocess.Popen[str]:
    """Start a program in a new interpreter that sees the tests; options are those of Popen."""
    path = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment | options.pop("env", {}),
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )
