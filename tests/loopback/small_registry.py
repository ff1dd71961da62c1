"""A registry of a few lines, over loopback, that does to `load` and `save` what a test wants."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<what>.+)")


@dataclass
class Small:
    """What it has, and what it was asked.

    Args:
        upstream: what it gives out, but does not hold.
        cuts: how many answers with a blob end early.
        fails_after: refuses uploads after so many; None: never.
    """

    url: str = ""
    held: dict[str, bytes] = field(default_factory=dict)
    places: set[tuple[str, str]] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    upstream: dict[str, bytes] = field(default_factory=dict)
    cuts: int = 0
    fails_after: int | None = None
    asked: list[str] = field(default_factory=list)
    commands: set[str] = field(default_factory=set)
    logins: set[str | None] = field(default_factory=set)
    uploaded: list[int] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)

    def image(self, name: str, blobs: dict[str, bytes], root: str) -> None:
        """Hold an image under a name."""
        repository = name.rpartition(":")[0]
        self.held |= blobs
        self.places |= {(repository, digest) for digest in blobs}
        self.tags[name] = root


@contextmanager
def small_registry() -> Iterator[Small]:
    """Run one."""
    small = Small()

    class Handler(_Handler):
        registry = small

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    small.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield small
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Small

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def handle_one_request(self) -> None:
        self.close_connection = True
        super().handle_one_request()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name, kind, what, _ = self._asked()
        digest = self.registry.tags.get(f"{name}:{what}", what)
        body = self.registry.held.get(digest)
        if body is not None and (name, digest) not in self.registry.places:
            body = None
        if body is None and self.headers["Skvaller-Hop"] is None:
            body = self.registry.upstream.get(digest)
        if body is None:
            self._answer(404)
            return
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        sent = body[start:]
        if kind == "blobs" and self.registry.cuts and self.command == "GET":
            self.registry.cuts -= 1
            sent = sent[: len(sent) // 2]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("Content-Type", self.registry.types.get(digest, "application/octet-stream"))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(sent)
        self.close_connection = len(sent) < len(body) - start

    def do_POST(self) -> None:
        name, _, _, query = self._asked()
        mounted = query.get("mount", "")
        if mounted in self.registry.held and (query["from"], mounted) in self.registry.places:
            self.registry.places.add((name, mounted))
            self._answer(201)
            return
        place = str(len(self.registry.uploads))
        self.registry.uploads[place] = b""
        self._answer(202, Location=f"/v2/{name}/blobs/uploads/{place}?state=x")

    def do_PATCH(self) -> None:
        _, _, what, _ = self._asked()
        place = what.rpartition("/")[2]
        self.registry.uploads[place] += self._body()
        self._answer(202, Location=self.path)

    def do_PUT(self) -> None:
        name, kind, what, query = self._asked()
        body = self._body()
        if kind == "manifests":
            self._put_manifest(name, what, body)
            return
        if self.registry.fails_after is not None and len(self.registry.uploaded) >= self.registry.fails_after:
            self._answer(507, b'{"errors":[{"message":"the disk is full"}]}')
            return
        body = self.registry.uploads.pop(what.rpartition("/")[2]) + body
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != query["digest"]:
            self._answer(400, b'{"errors":[{"message":"the digest is wrong"}]}')
            return
        self.registry.uploaded.append(len(body))
        self.registry.held[query["digest"]] = body
        self.registry.places.add((name, query["digest"]))
        self._answer(201)

    def _put_manifest(self, name: str, what: str, body: bytes) -> None:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        document = json.loads(body)
        named = [*filter(None, [document.get("config")]), *document.get("layers", [])]
        if any((name, row["digest"]) not in self.registry.places for row in named):
            self._answer(404, b'{"errors":[{"message":"a blob is unknown"}]}')
            return
        self.registry.held[digest] = body
        self.registry.types[digest] = self.headers["Content-Type"]
        self.registry.places.add((name, digest))
        if ":" not in what:
            self.registry.tags[f"{name}:{what}"] = digest
        self._answer(201)

    def _asked(self) -> tuple[str, str, str, dict[str, str]]:
        parts = urlsplit(self.path)
        found = _PATH.fullmatch(parts.path)
        assert found is not None, self.path
        self.close_connection = False
        self.registry.asked.append(f"{self.command} {parts.path}")
        self.registry.commands.add(self.headers["Skvaller-Command"])
        self.registry.logins.add(self.headers["Authorization"])
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        return found["name"], found["kind"], found["what"], query

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
