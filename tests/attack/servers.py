"""Servers of S3 and Google's storage on loopback, and a proxy that answers as bad ones do."""

import http.client
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

LONGER = 300 * 2**20
XML = '<?xml version="1.0"?><Error><Code>{}</Code><Message>{}</Message></Error>'


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[int]:
    """Run one; it does not ask who somebody is, so that its objects are those of a web server."""
    with served("moto.server", "-H", "127.0.0.1", "-p") as port:
        yield port


@contextmanager
def google_server(bucket: str) -> Iterator[int]:
    """Run one of Google's storage, with a bucket; what it holds goes with it.

    It knows no last bytes of an object, and loses a carriage return at the end of one that gcsfs
    sends: the proxy sees to both.
    """
    how = ("start", "--host=127.0.0.1", "--in-memory", f"--default-bucket={bucket}", "--port")
    with served("gcp_storage_emulator", *how) as port:
        yield port


@contextmanager
def served(module: str, *how: str) -> Iterator[int]:
    """Run a module as a server, whose last argument is its port."""
    port = free_port()
    command = [sys.executable, "-m", module, *how, str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while server.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        server.kill()
        server.wait()


class Handler(BaseHTTPRequestHandler):
    """Passes requests on, but of those that match."""

    server: "Proxy"
    body: bytes
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        fault = self.server.fault_of(f"{self.command} {unquote(self.path)}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with suppress(OSError):
            (fault or Handler.passed_on)(self)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def upstream(self, **changes: str | None) -> tuple[int, dict[str, str], bytes]:
        """Return what the server answers to this request, with other headers."""
        headers = {name: value for name, value in {**self.headers, **changes}.items() if value}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port)
        sent, last = self.body, b"\n--==0==--"
        if headers.get("Content-Type", "").startswith("multipart/related") and sent.endswith(last):
            sent = sent.removesuffix(last) + b"\r" + last
            headers["Content-Length"] = str(len(sent))
        connection.request(self.command, self.path, sent or None, headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        kept = {
            "etag", "content-range", "content-type", "content-length", "last-modified", "location",
        }  # fmt: skip
        told = {name: value for name, value in answer.getheaders() if name.lower() in kept}
        last = re.fullmatch(r"bytes=-(\d+)", headers.get("Range", ""))
        if last and answer.status == 200:
            size, body = len(body), body[-int(last[1]) :]
            told = {name: each for name, each in told.items() if name.lower() != "content-length"}
            told |= {
                "Content-Length": str(len(body)),
                "Content-Range": f"bytes {size - len(body)}-{size - 1}/{size}",
            }
            return 206, told, body
        return answer.status, told, body

    def head(self, status: int, headers: dict[str, Any]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def passed_on(self) -> None:
        status, headers, body = self.upstream()
        self.head(status, headers)
        self.wfile.write(body)

    def says(self, status: int, code: str, **more: Any) -> None:
        body = XML.format(code, "as the test says").encode()
        self.head(status, {"Content-Length": len(body), "Content-Type": "text/xml", **more})
        if self.command != "HEAD":
            self.wfile.write(body)

    def says_at_length(self, status: int) -> None:
        self.head(status, {"Content-Length": LONGER, "Content-Type": "text/xml"})
        for _ in range(LONGER // 2**20 if self.command != "HEAD" else 0):
            self.wfile.write(bytes(2**20))

    def dropped(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def part(self, share: float, more: int = 0, pause: float = 0.0) -> None:
        """Send a share of the body, or more; byte by byte where there are pauses."""
        status, headers, body = self.upstream()
        name = next((each for each in headers if each.lower() == "content-length"), None)
        if name and more:
            headers[name] = str(len(body) + more)
        self.head(status, headers)
        for byte in body if pause else ():
            self.wfile.write(bytes([byte]))
            self.server.stopped.wait(pause)
        if not pause:
            self.wfile.write(body[: int(share * len(body))])
        for _ in range(more // 2**20):
            self.wfile.write(bytes(2**20))
        self.close_connection = True

    def shorter(self) -> None:
        status, headers, body = self.upstream()
        body = body[: len(body) // 2]
        self.head(status, {**headers, "Content-Length": len(body)})
        self.wfile.write(body)

    def of_other_bytes(self) -> None:
        status, headers, body = self.upstream()
        headers = {name: told for name, told in headers.items() if name.lower() != "content-range"}
        self.head(status, {**headers, "Content-Range": f"bytes 7-{6 + len(body)}/100000"})
        self.wfile.write(body)

    def without_range(self) -> None:
        status, headers, body = self.upstream(Range=None)
        self.head(status, headers)
        self.wfile.write(body)

    def answered_in_vain(self) -> None:
        """Do what is asked; the answer is lost."""
        self.upstream()
        self.dropped()

    def written_again(self) -> None:
        self.server.count += 1
        status, headers, body = self.upstream()
        headers = {name: value for name, value in headers.items() if name.lower() != "etag"}
        self.head(status, {**headers, "ETag": f'"{self.server.count}"'})
        self.wfile.write(body)


Fault = Callable[[Handler], None]

FAULTS: dict[str, Fault] = {
    "silent": lambda handler: bool(handler.server.stopped.wait(60)) and None,
    "resets": Handler.dropped,
    "answer lost": Handler.answered_in_vain,
    "closes": lambda handler: setattr(handler, "close_connection", True),
    "drips": lambda handler: handler.part(1, pause=0.1),
    "drips its headers": lambda handler: drip(handler),
    "half a body": lambda handler: handler.part(0.5),
    "no HTTP": lambda handler: bool(handler.wfile.write(b"\0" * 100)) and None,
    "500": lambda handler: handler.says(500, "InternalError"),
    "502": lambda handler: handler.says(502, "BadGateway"),
    "503": lambda handler: handler.says(503, "SlowDown"),
    "503, later": lambda handler: handler.says(503, "SlowDown", **{"Retry-After": "120"}),
    "429": lambda handler: handler.says(429, "TooManyRequests", **{"Retry-After": "0"}),
    "403": lambda handler: handler.says(403, "AccessDenied"),
    "403, 300 MB": lambda handler: handler.says_at_length(403),
    "404": lambda handler: handler.says(404, "NoSuchKey"),
    "shorter": Handler.shorter,
    "300 MB longer": lambda handler: handler.part(1, more=LONGER),
    "other bytes": Handler.of_other_bytes,
    "no ranges": Handler.without_range,
    "written again": Handler.written_again,
}


def drip(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.server.stopped.wait(0.1):
        handler.wfile.write(b"a")


class Proxy(ThreadingHTTPServer):
    """A proxy before a server, whose answers to requests that match a pattern are faults."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream_port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream_port, self.url = upstream_port, f"http://127.0.0.1:{self.server_port}"
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.pattern, self.fault, self.times, self.count = "", "", 0, 0

    def handle_error(self, *_: object) -> None:
        pass

    def fault_of(self, path: str) -> Fault | None:
        with self.lock:
            if not self.fault or not self.times or not re.search(self.pattern, path):
                return None
            self.times -= 1
            return FAULTS[self.fault]

    @contextmanager
    def faulty(self, fault: str, pattern: str, times: int = 10**9) -> Iterator[None]:
        """Answer so to the first requests of a pattern."""
        self.stopped.clear()
        self.fault, self.pattern, self.times = fault, pattern, times
        try:
            yield
        finally:
            self.fault = ""
            self.stopped.set()


@contextmanager
def proxy_before(port: int) -> Iterator[Proxy]:
    with Proxy(port) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.stopped.set()
        server.shutdown()
