"""A small web server for tests of downloads: it sends files well or badly, and counts what it was asked for."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mirror:
    """A server of files held in memory; `behaviour` says how it sends them."""

    def __init__(self, files: dict[str, bytes], behaviour: str = "good"):
        self.files, self.behaviour = files, behaviour
        self.asked: list[str] = []
        self.url = ""
        self.stop = threading.Event()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.rsplit("/", 1)[-1]
        self.asked.append(name)
        content = self.files.get(name)
        if self.behaviour == "gone" or content is None:
            request.send_error(503)
            return
        sent = content
        if self.behaviour == "html":
            sent = b"\n<!DOCTYPE html><html><body>Please log in.</body></html>"
        elif self.behaviour == "wrong":
            sent = content[:-1] + bytes([content[-1] ^ 1])
        elif self.behaviour == "short":
            sent = content[: len(content) // 2]
        if self.behaviour.startswith("dripping"):
            self.drip(request, content, self.behaviour == "dripping")
            return
        if self.behaviour == "endless":
            request.send_response(200)
            request.end_headers()
            while not self.stop.wait(0.001):
                request.wfile.write(bytes(8192))
            return
        promised = len(content) if self.behaviour in ("truncated", "stalled", "slow") else len(sent)
        if self.behaviour == "packed":  # so that a client unpacks it: a small file that grows without end
            sent = gzip.compress(bytes(5_000_000))
            promised = len(sent)
        request.send_response(200)
        if self.behaviour == "packed":
            request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(promised))
        request.end_headers()
        if self.behaviour == "slow":
            for i in range(0, len(content), 100):
                request.wfile.write(content[i : i + 100])
                if self.stop.wait(0.02):
                    return
            return
        if self.behaviour in ("truncated", "stalled"):
            sent = content[: len(content) // 2]
        request.wfile.write(sent)
        request.wfile.flush()
        if self.behaviour == "stalled":
            self.stop.wait(20)

    def drip(self, request: BaseHTTPRequestHandler, content: bytes, after_headers: bool) -> None:
        """Send a letter now and then, so that no read of the client waits long: of the file, or of its headers."""
        start = f"HTTP/1.0 200 OK\r\nContent-Length: {len(content)}\r\n".encode()
        request.wfile.write(start + (b"\r\n" if after_headers else b"X-Long: "))
        while not self.stop.wait(0.05):
            request.wfile.write(b"x")
            request.wfile.flush()


@contextmanager
def serving(files: dict[str, bytes], behaviour: str = "good") -> Iterator[Mirror]:
    """Serve `files` on a free port of this machine while the block runs."""
    mirror = Mirror(files, behaviour)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                mirror.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield mirror
    finally:
        mirror.stop.set()
        server.shutdown()
        server.server_close()
