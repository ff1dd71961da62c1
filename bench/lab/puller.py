"""A client that pulls an image as a container runtime does, and keeps nothing: `python -m bench.lab.puller`.

It reports that it is ready, waits for a line on its standard input, and then asks for the tag with HEAD, for the
manifest by digest, and for configuration and layers, several at a time. Every sha256 is checked. What a runtime might
retry or work around is an error here, and ends the pull. It prints JSON lines; times are those of the monotonic clock,
which all processes of a machine share. Blocking sockets, few wakeups and nothing beyond the standard library keep it
cheap.
"""

import argparse
import hashlib
import json
import queue
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

ACCEPT: Final = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
PROGRESS_S: Final = 0.1

_CHUNK_BYTES: Final = 256 * 1024
_MANIFEST_MAX_BYTES: Final = 4 * 1024 * 1024


class PullError(Exception):
    """The pull has failed; the message says why."""


class Connection:
    """A connection that carries one request after the other.

    Args:
        host: IP address.
        port: of the registry, or whoever stands for it.
        stall_s: how long it waits for a byte, seconds.
    """

    def __init__(self, host: str, port: int, stall_s: float) -> None:
        self._address = (host, port)
        self._stall_s = stall_s
        self._socket: socket.socket | None = None
        self._rest = b""

    def request(self, method: str, path: str) -> Mapping[str, str]:
        """Ask, and read the answer's headers, their names in lower case; for GET, the body is to be read then."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._stall_s)
            # Without a time limit of Python's own the socket blocks, and MSG_WAITALL saves wakeups.
            self._socket.settimeout(None)
            limit = struct.pack("ll", round(self._stall_s), 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        host = f"{self._address[0]}:{self._address[1]}"
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Accept: {ACCEPT}", "User-Agent: skvaller-lab"]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        status, headers = self._head(f"{method} {path}")
        if status != "200":
            raise PullError(f"{method} {path}: status {status}")
        if not headers.get("content-length", "").isdecimal():
            raise PullError(f"{method} {path}: no Content-Length")
        return headers

    def read(self, buffer: memoryview) -> int:
        """Fill a buffer from the body; returns less than its size only where a read was cut short."""
        if self._rest:
            count = min(len(self._rest), len(buffer))
            buffer[:count], self._rest = self._rest[:count], self._rest[count:]
            return count
        assert self._socket is not None
        try:
            return self._socket.recv_into(buffer, len(buffer), socket.MSG_WAITALL)
        except BlockingIOError:
            raise PullError(f"no byte for {self._stall_s:g} s") from None

    def close(self) -> None:
        """Close it; the next request opens another one."""
        if self._socket is not None:
            self._socket.close()
            self._socket, self._rest = None, b""

    def _head(self, what: str) -> tuple[str, Mapping[str, str]]:
        assert self._socket is not None
        head = b""
        while b"\r\n\r\n" not in head:
            try:
                chunk = self._socket.recv(4096)
            except BlockingIOError:
                raise PullError(f"{what}: no answer for {self._stall_s:g} s") from None
            if not chunk:
                raise PullError(f"{what}: the connection was closed without an answer")
            head += chunk
        head, _, self._rest = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return first.partition(" ")[2][:3], {name.strip().lower(): value.strip() for name, _, value in pairs}


class Puller:
    """One pull.

    Args:
        address: host and port to ask.
        image: repository and tag.
        parallel: how many blobs at a time.
        stall_s: how long it waits for a byte, seconds.
    """

    def __init__(self, address: tuple[str, int], image: tuple[str, str], parallel: int, stall_s: float) -> None:
        self.received = 0
        self.errors: list[str] = []
        self._address = address
        self._repository, self._tag = image
        self._parallel = parallel
        self._stall_s = stall_s
        self._lock = threading.Lock()
        self._wanted: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def pull(self) -> None:
        """Pull it all. Afterwards `errors` says what went wrong, if anything."""
        connection = self._connection()
        try:
            manifest = self._manifest(connection)
        except (PullError, OSError, ValueError, KeyError) as error:
            self.errors.append(f"manifest: {error or error!r}")
            return
        for descriptor in (manifest["config"], *manifest["layers"]):
            self._wanted.put(descriptor)
        threads = [threading.Thread(target=self._work, args=(connection,))]
        threads += [threading.Thread(target=self._work, args=(self._connection(),)) for _ in range(self._parallel - 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _connection(self) -> Connection:
        return Connection(*self._address, self._stall_s)

    def _manifest(self, connection: Connection) -> Any:
        headers = connection.request("HEAD", self._path("manifests", self._tag))
        digest = headers.get("docker-content-digest", "")
        if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is None:
            raise PullError(f"the tag's answer has no digest: {digest!r}")
        size = int(headers["content-length"])
        if size > _MANIFEST_MAX_BYTES:
            raise PullError(f"the manifest has {size} bytes")
        body = bytearray()
        self._body(connection, "manifests", {"digest": digest, "size": size}, body)
        return json.loads(body)

    def _work(self, connection: Connection) -> None:
        while not self.errors:
            try:
                descriptor = self._wanted.get_nowait()
            except queue.Empty:
                break
            try:
                self._body(connection, "blobs", descriptor)
            except (PullError, OSError) as error:
                self.errors.append(f"{descriptor['digest'][:19]}: {error or repr(error)}")
        connection.close()

    def _body(
        self, connection: Connection, kind: str, descriptor: Mapping[str, Any], copy: bytearray | None = None
    ) -> None:
        """Read content of which digest and size are known, and check both."""
        headers = connection.request("GET", self._path(kind, descriptor["digest"]))
        left = int(headers["content-length"])
        if left != descriptor["size"]:
            raise PullError(f"{left} bytes instead of {descriptor['size']}")
        sha256 = hashlib.sha256()
        view = memoryview(bytearray(min(_CHUNK_BYTES, max(1, left))))
        while left:
            count = connection.read(view[: min(len(view), left)])
            if not count:
                raise PullError(f"ended {left} bytes too early")
            sha256.update(view[:count])
            left -= count
            if copy is not None:
                copy += view[:count]
            with self._lock:
                self.received += count
        if f"sha256:{sha256.hexdigest()}" != descriptor["digest"]:
            raise PullError("wrong digest")

    def _path(self, kind: str, reference: str) -> str:
        return f"/v2/{self._repository}/{kind}/{reference}?ns=docker.io"


def main() -> None:
    """Wait for a line of input, pull, and print how that proceeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="HOST:PORT to ask")
    parser.add_argument("repository")
    parser.add_argument("tag")
    parser.add_argument("--parallel", type=int, default=3)
    parser.add_argument("--stall", type=float, default=60.0, help="seconds without a byte after which it gives up")
    asked = parser.parse_args()
    host, _, port = asked.address.rpartition(":")
    puller = Puller((host, int(port)), (asked.repository, asked.tag), asked.parallel, asked.stall)
    _say("ready")
    if not sys.stdin.readline():
        return
    started_at = time.monotonic()
    thread = threading.Thread(target=puller.pull)
    thread.start()
    while thread.is_alive():
        thread.join(PROGRESS_S)
        _say("progress", bytes=puller.received)
    _say(
        "finished",
        bytes=puller.received,
        started_at=started_at,
        finished_at=time.monotonic(),
        errors=puller.errors,
    )


def _say(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


if __name__ == "__main__":
    main()
