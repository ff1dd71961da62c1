"""A registry of two halves: what is written goes to upstream, and what is read comes from an agent.

Suites that bring their own content write it and read it at one address. docker-registry has no lists of referrers, so
this keeps the tag that the specification has instead, as clients do that write to such registries.
"""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_INDEX, outline
from mirror.oci.referrers import as_list, entries, entry, tag_of
from testbed.network import Address

_WITHIN_S = 20.0
_OWN = {"host", "connection", "content-length", "transfer-encoding"}
_LEFT_OUT = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class _Halves(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    upstream: Address
    agent: Address

    def do_GET(self) -> None:
        """Read."""
        self._answer(*_ask(self.agent, self.command, self.path, b"", dict(self.headers)))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Write."""
        body = self._body()
        status, headers, answer = _ask(self.upstream, self.command, self.path, body, dict(self.headers))
        if self.command == "PUT" and "/manifests/" in self.path and status == http.HTTPStatus.CREATED:
            headers |= self._refer(body)
        self._answer(status, headers, answer)

    do_PUT = do_PATCH = do_DELETE = do_POST

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while count := int(self.rfile.readline(), 16):
            body += self.rfile.read(count)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _refer(self, body: bytes) -> dict[str, str]:
        """Have the tag of a manifest's subject name the manifest; the header that says so."""
        found = outline(body)
        if found is None or found.subject is None:
            return {}
        repository = self.path.partition("/manifests/")[0]
        path = f"{repository}/manifests/{tag_of(found.subject)}"
        _, _, known = _ask(self.upstream, "GET", path, b"", {"Accept": OCI_INDEX})
        index = as_list([*(entries(known) or []), entry(Digest.of(body), len(body), found)])
        status, _, answer = _ask(self.upstream, "PUT", path, index, {"Content-Type": OCI_INDEX})
        assert status == http.HTTPStatus.CREATED, answer
        return {"OCI-Subject": str(found.subject)}

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _LEFT_OUT or (name.lower() == "content-length" and self.command == "HEAD"):
                self.send_header(name, value.replace(f"http://{self.upstream}", ""))
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def halves(upstream: Address, agent: Address) -> Iterator[str]:
    """The URL of a registry of two halves."""
    handler = type("Handler", (_Halves,), {"upstream": upstream, "agent": agent})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _ask(
    address: Address, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    passed = {name: value for name, value in headers.items() if name.lower() not in _OWN}
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_WITHIN_S)
    try:
        connection.request(method, path, body if method not in ("GET", "HEAD") else None, passed)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()
