"""Clients that are never the bottleneck: blocking sockets in threads that let the kernel drop what arrives; and wrk."""

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from testbed.network import Address
from testbed.servers import Server

from .report import BenchError

TIMEOUT_S = 60.0
_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Download:
    """A load: clients that download a blob together, each its share, over a connection of its own.

    Args:
        name: for tables.
        clients: how many.
        total_bytes: of all together.
        range_bytes: if given, each client asks for its share in ranges of this size, one after the other.
    """

    name: str
    clients: int
    total_bytes: int
    range_bytes: int | None = None

    def requests(self, client: int, size: int) -> Iterator[tuple[int, int]]:
        """The ranges `(start, stop)` of a blob of `size` bytes that one client asks for."""
        share = self.total_bytes // self.clients
        step = min(self.range_bytes or share, size)
        for offset in range(client * share, (client + 1) * share, step):
            start = min(offset % size, size - step)
            yield start, start + step


def download(server: Server, path: str, size: int, load: Download) -> float:
    """Put a load on a server; return the bytes per second that came.

    Raises:
        BenchError: a client cannot connect, or gets something else than the content.
    """
    barrier = threading.Barrier(load.clients + 1, timeout=TIMEOUT_S)
    with ThreadPoolExecutor(load.clients) as pool:
        work = [
            pool.submit(_client, server.address, path, size, load, number, barrier) for number in range(load.clients)
        ]
        try:
            barrier.wait()
            started_at = time.perf_counter()
            received = sum(client.result() for client in work)
            return received / (time.perf_counter() - started_at)
        except (threading.BrokenBarrierError, OSError):
            errors = [error for client in work if (error := client.exception()) is not None]
            first = next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), None)
            said = first or f"its clients were not connected after {TIMEOUT_S:g} s"
            raise BenchError(f"{server.name} at {server.address}, {load.name}: {said}") from None


def requests_per_s(server: Server, path: str, accept: str, connections: int, seconds: int) -> float:
    """Requests for something small that a server answers in a second, measured with wrk.

    Raises:
        BenchError: it answers none, or not well.
    """
    url = f"http://{server.address}{path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"Accept: {accept}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    rate = re.search(r"Requests/sec:\s*([0-9.]+)", done.stdout)
    if rate is None or not float(rate[1]) or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise BenchError(f"{server.name} did not answer {path} well: {' '.join((done.stdout + done.stderr).split())}")
    return float(rate[1])


def _client(address: Address, path: str, size: int, load: Download, number: int, barrier: threading.Barrier) -> int:
    received = 0
    try:
        connection = socket.create_connection(address, TIMEOUT_S)
    except OSError:
        barrier.abort()  # nobody waits for one that does not come
        raise
    with connection:
        barrier.wait()
        for start, stop in load.requests(number, size):
            wanted = None if (start, stop) == (0, size) else (start, stop)
            received += fetch(connection, path, wanted)
    return received


def fetch(connection: socket.socket, path: str, wanted: tuple[int, int] | None) -> int:
    """Ask for content, or a range of it, and let the kernel drop the body; return its length.

    Source: tcp(7), MSG_TRUNC.
    """
    ranged = f"Range: bytes={wanted[0]}-{wanted[1] - 1}\r\n" if wanted else ""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{ranged}\r\n".encode())
    length, received = _head(connection, path)
    buffer = bytearray(_BUFFER_BYTES)
    while received < length:
        count = connection.recv_into(buffer, min(len(buffer), length - received), socket.MSG_TRUNC)
        if not count:
            raise BenchError(f"{path} ended after {received} of {length} bytes")
        received += count
    return length


def _head(connection: socket.socket, path: str) -> tuple[int, int]:
    """Read an answer's head; return the body's length, and how much of it came along."""
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = connection.recv(4096)
        if not chunk:
            raise BenchError(f"{path}: no answer")
        head += chunk
    head, _, body = head.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if head.split(b" ", 2)[1] not in (b"200", b"206") or length is None:
        raise BenchError(f"{path}: unexpected answer {head.splitlines()[0].decode(errors='replace')!r}")
    return int(length[1]), len(body)
