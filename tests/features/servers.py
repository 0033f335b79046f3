"""A range-serving HTTP server of a folder that counts the bytes it sends, and an S3 server."""

import re
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

RANGES = True
"""Whether the server of a folder serves ranges of files, as all but simple ones do."""


@contextmanager
def http_server(folder: Path, *, endless: str = ""):
    """Yields the URL of `folder` and a list to which every answer's length is added. Files with `endless` in their path never end."""
    sent: list[int] = []
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body):
            path = (folder / unquote(self.path).lstrip("/")).resolve()
            if not path.is_file() or folder.resolve() not in path.parents:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if endless and endless in self.path and with_body:
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                with suppress(OSError):
                    while not stop.is_set():
                        sent.append(self.wfile.write(bytes(1 << 16)))
                return
            data = path.read_bytes()
            total = len(data)
            wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")) if RANGES else None
            if wanted and wanted[1]:
                begin, end = int(wanted[1]), min(int(wanted[2] or total - 1), total - 1)
            elif wanted:
                begin, end = max(0, total - int(wanted[2])), total - 1
            else:
                begin, end = 0, total - 1
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {begin}-{end}/{total}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - begin + 1))
            self.end_headers()
            if with_body:
                sent.append(end - begin + 1)
                self.wfile.write(data[begin : end + 1])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", sent
    finally:
        stop.set()
        server.shutdown()
        server.server_close()


def forget_clients():
    """A client of an earlier S3 server would be used again."""
    from s3fs import S3FileSystem

    for kind in (S3FileSystem, *S3FileSystem.__subclasses__()):
        kind.clear_instance_cache()


@contextmanager
def s3_server(monkeypatch):
    """Yields the name of an empty bucket; the environment leads every client to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="lab")
    forget_clients()
    try:
        yield "lab"
    finally:
        server.stop()


@contextmanager
def failing_server():
    """Yields a URL whose folders fail in ways of their own: `status-503`, `loop`, `endless`, `silent`, `rangeless`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.fail(with_body=False)

        def do_GET(self):
            self.fail(with_body=True)

        def fail(self, with_body):
            how = self.path.split("/")[1]
            if how == "silent":
                stop.wait(20)
                return
            self.send_response(
                {"loop": 302, "endless": 200, "rangeless": 200}.get(how) or int(how.removeprefix("status-"))
            )
            if how == "loop":
                self.send_header("Location", self.path)
            size = 0
            if how == "rangeless":
                # It states the size of one file and sends another, for every range.
                size = 1 << 30 if with_body else 4096
                self.send_header("ETag", '"one"')
            if how == "endless":
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(size))
            self.end_headers()
            if how == "rangeless":
                return
            with suppress(OSError):
                while how == "endless" and with_body and not stop.is_set():
                    self.wfile.write(bytes(1 << 16))

        def log_message(self, *_):
            pass

    stop = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
