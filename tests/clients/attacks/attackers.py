"""What attackers use: raw connections and packets, members and web servers that lie, and ears and hands on the wire."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from gossip import Gossip, Listen, Sealing, local
from gossip.core.membership.member import PROTOCOL
from gossip.core.messages import Message
from gossip.core.packets.codec import encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal
from testbed.agents import CLIENT_PORT, GOSSIP_PORT, PEER_PORT, Agent
from testbed.images import Image
from testbed.network import Address, Host, enter, inside
from testbed.processes import wait_until

T = TypeVar("T")

MEBIBYTE: Final = 1024 * 1024
GROWTH_MAX_BYTES: Final = 50 * MEBIBYTE
"""By how much an attack may make an agent grow beyond what it has when it is idle."""

SILENCE_S: Final = 30.0
"""How long an attacker waits for any byte, seconds: longer than every bound of the agent that a test waits for."""

_READ_BYTES: Final = 256 * 1024
"""How much of an answer is read at a time: one may say that it is longer than all memory."""

_STALL_MAX_S: Final = 1.5
"""The longest turn of an event loop that an attack may cause, seconds. The aim is 0.05; machines that test are busy."""

_STALL = re.compile(r'event loop stalled" lag_s=([0-9.]+)')


# A stranger: connections and packets


class Stranger:
    """Somebody on a host of the network, who has no key and is no member.

    Args:
        host: from where.
    """

    def __init__(self, host: Host) -> None:
        self.host = host

    def connect(self, address: Address) -> socket.socket:
        """Open a connection."""
        return inside(self.host.netns, lambda: socket.create_connection(address, SILENCE_S))

    def connect_many(self, address: Address, count: int) -> list[socket.socket]:
        """Open idle connections, as many as the other end takes."""

        def connect_all() -> list[socket.socket]:
            opened: list[socket.socket] = []
            for _ in range(count):
                with suppress(OSError):
                    opened.append(socket.create_connection(address, 0.2))
            return opened

        return inside(self.host.netns, connect_all)

    def send(self, address: Address, *datagrams: bytes) -> None:
        """Send datagrams."""

        def send_all() -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                for datagram in datagrams:
                    sender.sendto(datagram, address)

        inside(self.host.netns, send_all)

    def ask(self, address: Address, request: bytes) -> "Reply":
        """Send a request, and read one answer."""
        with self.connect(address) as sock:
            return exchange(sock, request)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of HTTP; status 0 where the connection ended before any answer, and `complete` is false if short."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True


def exchange(sock: socket.socket, request: bytes, *, is_head: bool = False) -> Reply:
    """Send a request on a connection, and read one answer."""
    with suppress(ConnectionError):  # the other end may answer, and close, before it has read all
        sock.sendall(request)
    answer = http.client.HTTPResponse(sock, method="HEAD" if is_head else "GET")
    try:
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
    except (OSError, http.client.HTTPException):
        return Reply(0, {}, b"", complete=False)
    body, complete = bytearray(), True
    try:
        while part := answer.read(_READ_BYTES):
            body += part
        complete = answer.length in (None, 0)
    except (OSError, http.client.HTTPException):
        complete = False
    return Reply(answer.status, headers, bytes(body), complete)


def request(target: str, host: str = "localhost", *, method: str = "GET", **headers: str) -> bytes:
    """The head of a request; underscores in names of headers stand for hyphens."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def ask_locally(agent: Agent, payload: bytes, address: Address | None = None) -> Reply:
    """What the agent answers to a process on its own host."""

    def ask() -> Reply:
        with socket.create_connection(address or agent.address, SILENCE_S) as sock:
            return exchange(sock, payload, is_head=payload.startswith(b"HEAD "))

    return inside(agent.netns, ask)


def closes(sock: socket.socket) -> bool:
    """Whether the other end closes a connection, whatever it sends before, before it has been silent for too long."""
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def packet(sender: str, *messages: Message, epoch: int = 1, cluster: str = "default") -> bytes:
    """A datagram of gossip, as anybody can write it where there is no key."""
    seal = Seal(cluster, Keyring(()), PROTOCOL, os.urandom)
    return seal.wrap(encode_packet(sender, epoch, bytes(8), map(encode_message, messages)))


# What an attack may cost


@contextmanager
def harmless(agent: Agent, *others: Agent) -> Iterator[None]:
    """An attack on an agent: it does not grow, goes on answering, and the others do not suspect it meanwhile."""
    suspected = {other.name: _suspected(other) for other in others}
    Path(f"/proc/{agent.pid}/clear_refs").write_text("5")  # the peak begins anew. Source: proc(5)
    idle, said = agent.usage().rss_bytes, len(agent.output)
    yield
    assert agent.get("/healthz") == b"ok\n"
    growth = agent.usage().peak_bytes - idle
    assert growth <= GROWTH_MAX_BYTES, f"{agent.name} grew by {growth / MEBIBYTE:.0f} MiB"
    assert "Traceback" not in agent.output
    stalls = [float(found) for found in _STALL.findall(agent.output[said:])]
    assert max(stalls, default=0.0) <= _STALL_MAX_S, f"the event loop of {agent.name} stalled for {max(stalls)} s"
    for other in others:
        assert other.states()[agent.name] == "alive"
        assert _suspected(other) == suspected[other.name], f"{other.name} suspected {agent.name} meanwhile"


def _suspected(agent: Agent) -> float:
    return agent.metrics().get('skvaller_gossip_events_total{event="member_suspected"}', 0)


# Servers that answer as a test says


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a scripted server got; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


Whole = Callable[[Asked], bytes]
Answer = Callable[[Asked], bytes | Iterable[bytes]]


class Web:
    """An HTTP server whose every answer is the bytes that a function gives, head included; it notes what it is asked.

    Args:
        host: where.
        port: TCP port.
        answer: gives the bytes, at once or in parts.
    """

    def __init__(self, host: Host, port: int, answer: Answer) -> None:
        self.asked: list[Asked] = []
        self.answer = answer
        self.address = Address(host.address, port)
        self._listener = inside(host.netns, lambda: socket.create_server(self.address, backlog=128))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop."""
        _end(self._listener, *self._open)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self._open.add(sock)
        with sock, sock.makefile("rb") as lines, suppress(OSError, ValueError):
            while first := lines.readline().decode("latin-1").split():
                pairs = iter(lambda: lines.readline().decode("latin-1").strip(), "")
                headers = {name.lower(): value.strip() for name, _, value in (pair.partition(":") for pair in pairs)}
                if len(first) != 3:
                    return  # it is no request: perhaps TLS
                asked = Asked(first[0], first[1], headers)
                self.asked.append(asked)
                answer = self.answer(asked)
                for part in (answer,) if isinstance(answer, bytes) else answer:
                    sock.sendall(part)
        self._open.discard(sock)


def reply(asked: Asked, body: bytes, headers: Mapping[str, str] | None = None, *, status: str = "200 OK") -> bytes:
    """An answer with content, or the range of it that was asked for."""
    said, part = dict(headers or {}), body
    wanted = asked.headers.get("range", "")
    if wanted.startswith("bytes=") and body:
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(body)) + 1, len(body))
        status, part = "206 Partial Content", body[start:stop]
        said["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
    said["Content-Length"] = str(len(part))
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in said.items())]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if asked.method == "HEAD" else part)


def missing(asked: Asked) -> bytes:
    """The answer of somebody who does not have it."""
    return reply(asked, b"", status="404 Not Found")


def registry_of(image: Image, tag: str, *, alter: Callable[[Asked, bytes], bytes] | None = None) -> Whole:
    """A registry that has one image, in any repository; `alter` may give other bytes than are right."""
    media = json.loads(image.read(image.manifest))["mediaType"]

    def answer(asked: Asked) -> bytes:
        what = asked.path.rpartition("/")[2]
        digest = image.manifest if what == tag else what
        if digest not in image.digests:
            return reply(asked, b"{}") if asked.path == "/v2/" else missing(asked)
        body = image.read(digest)
        kind = media if digest == image.manifest else "application/octet-stream"
        headers = {"Content-Type": kind, "Docker-Content-Digest": digest}
        return reply(asked, alter(asked, body) if alter else body, headers)

    return answer


# A member that lies


class RogueMember:
    """A member of the cluster that gossips as all do, and answers on its peer endpoint what a test wants.

    Args:
        host: where it is.
        name: of it.
        seed: a member to join through.
        answer: what its peer endpoint answers; None for a member without one.
        metadata: what it says of itself; by default that it is a home, and where its peer endpoint is.
        keys: of the cluster.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        seed: Agent,
        answer: Answer | None = None,
        *,
        metadata: Mapping[str, object] | None = None,
        keys: Sequence[bytes] = (),
    ) -> None:
        self.name = name
        self.host = host
        self.web = Web(host, PEER_PORT, answer) if answer else None
        self._is_shown = metadata is None
        self._metadata = json.dumps(metadata or {"port": PEER_PORT, "home": "yes"}).encode()
        self._seed, self._keys = seed, keys
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.gossip = Gossip(
            name,
            local(label="default"),
            listen=Listen(host.address, GOSSIP_PORT),
            seeds=[seed.gossip],
            keys=keys,
            sealing=Sealing.REQUIRE,
        )

    def __enter__(self) -> "RogueMember":
        self._thread.start()
        assert self._ready.wait(SILENCE_S)
        try:
            wait_until(self._has_joined, "the rogue to join")
            if self._is_shown:
                self._seed.until_state(self.name, "alive")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(SILENCE_S)
        if self.web is not None:
            self.web.close()

    def claim(self, *digests: str) -> None:
        """Say that it holds some content."""
        self.claim_keys([bytes.fromhex(digest.removeprefix("sha256:")) for digest in digests])

    def claim_keys(self, keys: Sequence[bytes]) -> None:
        """Say that it holds what these keys stand for."""
        self.call(lambda: self.gossip.advertise(keys))

    def call(self, work: Callable[[], T]) -> T:
        """Call something in the thread of its gossip."""
        assert self._loop is not None

        async def call() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(SILENCE_S)

    def _has_joined(self) -> bool:
        return self.call(lambda: any(member.live for member in self.gossip.view.members()))

    def _run(self) -> None:
        enter(self.host.netns)
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.gossip.update(self._metadata)
        async with self.gossip:
            self._ready.set()
            await self._stop.wait()
            await self.gossip.leave(0.5)


# On the wire


class Overhearer:
    """Somebody on the wire of a host, who hears all that it sends and gets."""

    def __init__(self, victim: Host) -> None:
        self._streams: dict[tuple[bytes, bytes], bytearray] = {}
        self._next: dict[tuple[bytes, bytes], int] = {}
        self.datagrams: list[bytes] = []
        """What went over UDP, in order."""
        self._wire = inside(
            victim.switch, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        )
        self._wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * MEBIBYTE)
        self._wire.bind((victim.port, 0))
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Overhearer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.settimeout(0.2)
        self._stopping = True
        self._thread.join(SILENCE_S)
        self._wire.close()

    _stopping = False

    def streams(self, source: str, port: int) -> list[bytes]:
        """What a host sent to a TCP port, one item a connection."""
        ip, end = socket.inet_aton(source), struct.pack("!H", port)
        return [bytes(it) for (ips, ports), it in self._streams.items() if ips[:4] == ip and ports[2:] == end]

    def everything(self, *, beside: int) -> bytes:
        """All that went over TCP and UDP, but for what a TCP port sent or got."""
        end = struct.pack("!H", beside)
        heard = [bytes(it) for (_, ports), it in self._streams.items() if end not in (ports[:2], ports[2:])]
        return b"\n".join([*heard, *self.datagrams])

    def _listen(self) -> None:
        self._wire.settimeout(0.2)
        while True:
            try:
                self._take(self._wire.recv(131072))
            except TimeoutError:
                if self._stopping:
                    return

    def _take(self, frame: bytes) -> None:
        if frame[12:14] != b"\x08\x00":
            return
        ip = frame[14:]
        head, length = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], "big") or len(ip)
        segment, ips = ip[head:length], ip[12:20]
        if ip[9] == socket.IPPROTO_UDP:
            self.datagrams.append(segment[8:])
        elif ip[9] == socket.IPPROTO_TCP:
            number, payload = int.from_bytes(segment[4:8], "big"), segment[(segment[12] >> 4) * 4 :]
            key = (ips, segment[:4])
            if segment[13] & 2:  # SYN
                self._next[key] = number + 1
                self._streams[key] = bytearray()
            elif payload and (number - self._next.get(key, number)) % 2**32 < 2**31:
                self._streams.setdefault(key, bytearray()).extend(payload)
                self._next[key] = (number + len(payload)) % 2**32


class ManOnPath:
    """Somebody on the path from one host to a port of another, who may change what goes through, or answer himself.

    Args:
        host: where he sits.
        victim: the host whose connections go through him.
        target: the address that the victim connects to.
        instead: the address to which he leads the connections; by default the target's.
        upward: changes what the victim sends.
        downward: changes what the victim gets.
    """

    def __init__(
        self,
        host: Host,
        victim: Host,
        target: Address,
        *,
        instead: Address | None = None,
        upward: Callable[[bytes], bytes] = bytes,
        downward: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._host, self._victim, self._target, self._end = host, victim, target, instead or target
        self._change = (upward, downward)
        self._listener = inside(host.netns, lambda: socket.create_server((host.address, 6001)))
        self._open: list[socket.socket] = []
        self.connections = 0

    def __enter__(self) -> "ManOnPath":
        threading.Thread(target=self._accept, daemon=True).start()
        rule = f"ip daddr {self._target.host} tcp dport {self._target.port} dnat to {self._host.address}:6001"
        chain = "add chain ip path out { type nat hook output priority -100; }"
        self._victim.run("nft", f"add table ip path; {chain}; add rule ip path out {rule}")
        # Connections that are open already go past him; new ones do not. Source: ss(8), --kill
        self._victim.run("ss", "--kill", "dst", self._target.host, "dport", "=", str(self._target.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._victim.run("nft", "delete table ip path")
        _end(self._listener, *self._open)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                self._open.append(near)
                far = inside(self._host.netns, lambda: socket.create_connection(self._end, SILENCE_S))
                self._open.append(far)
                for source, sink, change in ((near, far, self._change[0]), (far, near, self._change[1])):
                    threading.Thread(target=_pump, args=(source, sink, change), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(change(part))
    _end(source, sink)


def _end(*sockets: socket.socket) -> None:
    """Wake who waits on these, and close them."""
    for sock in sockets:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


# What clients see


def blob_path(digest: str, repository: str = "library/app") -> str:
    """Where a client asks for a blob of docker.io."""
    return f"/v2/{repository}/blobs/{digest}?ns=docker.io"


def manifest_path(what: str, repository: str = "library/app") -> str:
    """Where a client asks for a manifest of docker.io, by tag or digest."""
    return f"/v2/{repository}/manifests/{what}?ns=docker.io"


def pull_blob(agent: Agent, digest: str, *, wanted: str = "") -> Reply:
    """Get a blob, or a range of it, as a client on the agent's host."""
    headers = {"Range": wanted} if wanted else {}
    return ask_locally(agent, request(blob_path(digest), f"localhost:{CLIENT_PORT}", **headers))


def is_right(got: Reply, digest: str) -> bool:
    """Whether a whole answer is what its digest says."""
    return got.status == 200 and got.complete and f"sha256:{hashlib.sha256(got.body).hexdigest()}" == digest


def is_wrong(got: Reply, expected: bytes) -> bool:
    """Whether an answer that claims to be complete has other bytes than it should."""
    return got.status in (200, 206) and got.complete and got.body != expected


def until_right(agent: Agent, digest: str) -> None:
    """Ask again, as people do, until the whole blob comes and is right; wrong bytes fail at once."""

    def ask() -> bool:
        got = pull_blob(agent, digest)
        assert not (got.status == 200 and got.complete and not is_right(got, digest)), "complete and wrong"
        return is_right(got, digest)

    wait_until(ask, f"{agent.name} to give {digest}", 40)


def until_claimed(agent: Agent, member: str, count: int = 1) -> None:
    """Wait until an agent knows so many keys that a member says that it holds; the member itself is not asked."""

    def claims() -> bool:
        return any(row["keys"] >= count for row in agent.members() if row["name"] == member)

    wait_until(claims, f"{agent.name} to learn what {member} claims")


@contextlib.contextmanager
def closing_all(sockets: Sequence[socket.socket]) -> Iterator[Sequence[socket.socket]]:
    """Close connections at the end."""
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()
