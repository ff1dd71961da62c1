"""Downloads from members: each in a thread, and watched over on the loop (`watch`), which may end it.

What a member says about ranges and lengths is checked here. Whether its bytes are right shows when they are hashed.
"""

import contextlib
import enum
import errno
import math
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial

from ...channels import Channel, tls_problem
from ...errors import PeerError, Reason
from ...oci.ranges import parse_content_range
from ...routers import Peer
from ...settings import PeerSettings
from .. import SIZE_MAX_BYTES, RangeReply, RangeRequest, Sink
from .connections import Connection, ConnectionPool, Head, LocalProtocolError, RemoteProtocolError
from .protocol import MemberAnswer
from .watch import Watch

Ask = Callable[[Connection], Head]
_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""Errors of TLS that mean only that the connection has ended."""
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)


class Transfers:
    """The downloads from members that are under way.

    Args:
        pool: connections and threads.
        settings: timeouts.
        watch: ends those of members that are gone.
    """

    def __init__(self, pool: ConnectionPool, settings: PeerSettings, watch: Watch) -> None:
        self._pool = pool
        self._settings = settings
        self._watch = watch

    async def download(
        self,
        peer: Peer,
        channel: Channel | None,
        ask: Ask,
        request: RangeRequest,
        sink: Sink,
    ) -> None:
        """Have a member send a range; see `Source.download`.

        Args:
            peer: the member.
            channel: how TLS is spoken with it; None for clear text.
            ask: sends the question, and gives the head of the answer. Blocks.
            request: what is asked for.
            sink: takes the bytes.

        Raises:
            PeerError: the bytes do not come, or not all of them.
        """
        run = partial(self._pool.run, role=request.role)
        with (
            self._pool.connection(peer.host, peer.port, channel) as connection,
            self._watch.over(Transfer(peer, connection, request, sink)) as transfer,
        ):
            with self._translated(transfer):
                reply, received = await run(connection, partial(transfer.begin, ask))
            if received is None:
                self._watch.heard(peer, time.monotonic())
                await sink.begin(reply)
                with self._translated(transfer):
                    received = await run(connection, partial(transfer.receive, reply))
        missing = reply.stop - reply.start - received
        if missing > 0:
            raise self._to_peer_error(transfer, EOFError(f"{missing} bytes short"))

    @contextlib.contextmanager
    def _translated(self, transfer: "Transfer") -> Iterator[None]:
        """Turn what ends a transfer early into PeerError."""
        try:
            yield
        except (RemoteProtocolError, LocalProtocolError, OSError) as error:
            raise self._to_peer_error(transfer, error) from error

    def _to_peer_error(self, transfer: "Transfer", error: Exception) -> PeerError:
        """What it means that a transfer ended early."""
        peer = transfer.peer
        if transfer.given_up is not None:
            return transfer.given_up
        if isinstance(error, TimeoutError) and transfer.was_heard:
            return PeerError(Reason.STALLED, f"{peer.name} gave no sign of life")
        if isinstance(error, TimeoutError):
            limit_s = self._settings.connect_s
            return PeerError(Reason.TIMEOUT, f"{peer.name} at {peer.address} cannot be reached within {limit_s:g} s")
        if isinstance(error, ConnectionRefusedError) or getattr(error, "errno", None) in _UNREACHABLE:
            return PeerError(Reason.UNREACHABLE, f"{peer.name} at {peer.address} cannot be reached: {error}")
        if isinstance(error, ssl.SSLError) and not isinstance(error, _CUT):
            return PeerError(Reason.UNPROVEN, f"{peer.name} at {peer.address}: {tls_problem(error)}")
        if isinstance(error, LocalProtocolError):
            return PeerError(Reason.BROKEN, f"{peer.name} at {peer.address} cannot be asked: {error}")
        return PeerError(Reason.BROKEN, f"{peer.name} broke off: {error or type(error).__name__}")


class TransferPhase(enum.Enum):
    """How far a transfer is: whether bytes of its member are due."""

    WAITING = "waiting"
    """For a thread, or for its sink: the member owes nothing."""
    ASKING = "asking"
    """The request is being sent, and nothing of the answer has come."""
    RECEIVING = "receiving"
    """A part of the answer has come, and the rest is due."""


class Transfer:
    """One request for content. A thread carries it out; the watch, on the loop, may end it.

    The thread writes the phase and when bytes came; the watch reads them, and decides.

    Args:
        peer: the member that is asked.
        connection: to the member.
        request: what is asked for.
        sink: takes the bytes.
    """

    def __init__(self, peer: Peer, connection: Connection, request: RangeRequest, sink: Sink) -> None:
        self.peer = peer
        self.given_up: PeerError | None = None
        """Why it was ended from outside."""
        self._phase = TransferPhase.WAITING
        self._asked_at = 0.0
        self._heard_at = 0.0
        """When bytes last came, or the request was sent; means nothing while WAITING."""
        self._alive_at = 0.0
        """When the member last gave another sign of life, or the request was sent."""
        self._connection = connection
        self._request = request
        self._sink = sink

    def begin(self, ask: Ask) -> tuple[RangeReply, int | None]:
        """Send the request, and receive the answer if the sink takes it at once. Blocks.

        Returns:
            What the answer says will come, and how many bytes came; None instead if the sink has to decide first.
        """
        self._asked_at = self._heard_at = self._alive_at = time.monotonic()
        self._phase = TransferPhase.ASKING
        head = ask(self._connection)
        if head.status != 206:
            self._connection.drain()
        reply = check_reply(self.peer, head, self._request)
        self._heard_at = time.monotonic()
        self._phase = TransferPhase.RECEIVING
        if self._sink.begin_at_once(reply):
            return reply, self.receive(reply)
        self._phase = TransferPhase.WAITING
        return reply, None

    def receive(self, reply: RangeReply) -> int:
        """Put the answer where it belongs; return how many bytes of it came. Blocks."""
        self._heard_at = time.monotonic()
        self._phase = TransferPhase.RECEIVING
        return self._connection.read_body(self._put, reply.start, reply.stop - reply.start)

    def _put(self, position: int, part: bytes | memoryview) -> None:
        self._heard_at = time.monotonic()
        self._sink.put(position, part)

    def unheard_s(self, now: float) -> float:
        """See `Owed.unheard_s`."""
        return 0.0 if self._phase is TransferPhase.WAITING else now - self._last_heard_at(now)

    @property
    def signed_at(self) -> float:
        """See `Owed.signed_at`."""
        return max(self._last_heard_at(time.monotonic()), self._alive_at) if self.was_heard else -math.inf

    def _last_heard_at(self, now: float) -> float:
        """When bytes last came. The thread collects them for a while, so the kernel knows it better."""
        quiet_s = self._connection.quiet_s() if self._phase is TransferPhase.RECEIVING else math.inf
        return self._heard_at if quiet_s == math.inf else now - quiet_s

    def note_sign_of_life(self, now: float) -> None:
        """See `Owed.note_sign_of_life`."""
        self._alive_at = now

    def round_trip_s(self) -> float:
        """See `Owed.round_trip_s`."""
        return self._connection.round_trip_s()

    @property
    def was_heard(self) -> bool:
        """Whether its member answered, or gave a sign of life since it was asked."""
        return self._phase is TransferPhase.RECEIVING or self._alive_at > self._asked_at

    def give_up(self, reason: Reason, why: str) -> None:
        """See `Owed.give_up`."""
        self.given_up = PeerError(reason, f"{self.peer.name} {why}")
        self._connection.abort()


def check_reply(peer: Peer, head: Head, request: RangeRequest) -> RangeReply:
    """What an answer says will come.

    Raises:
        PeerError: it refuses, or is not one to the request.
    """
    given = head.headers.get("content-range")
    if head.status == 416 and request.start == 0 and given == "bytes */0":
        return RangeReply(0, 0, 0)
    if head.status == 416 and request.start and request.size is None:
        raise PeerError(Reason.RANGE, f"{peer.name} has no byte from {request.start} on")
    answer = MemberAnswer.parse(head.headers)
    raise_for_status(peer, head.status, answer, expected=206)
    promised = parse_content_range(given)
    if promised is None:
        raise PeerError(Reason.RANGE, f"{peer.name} answered without a valid Content-Range")
    start, stop, size = promised
    checked_size(peer, size)
    most = min(size if request.stop is None else request.stop, size)
    may_be_less = request.role.waits_for_others  # one that fetches it itself sends the part that has one origin
    if start != request.start or stop > most or (stop < most and not may_be_less):
        raise PeerError(
            Reason.RANGE, f"{peer.name} answered {start}-{stop} of {size} when asked for {request.start}-{request.stop}"
        )
    if head.length != stop - start:
        raise PeerError(Reason.LENGTH, f"{peer.name} announced {head.length} bytes for {stop - start}")
    return RangeReply(start, stop, size, answer.origin)


def checked_size(peer: Peer, size: int) -> int:
    """A size that a member states, in bytes; raise PeerError if no content can have it."""
    if size > SIZE_MAX_BYTES:
        raise PeerError(Reason.RANGE, f"{peer.name} states a size of {size} bytes, which no content has")
    return size


def raise_for_status(peer: Peer, status: int, answer: MemberAnswer, *, expected: int) -> None:
    """Raise PeerError for an answer with another status than the expected one."""
    if status != expected:
        reason = answer.failure(status)
        raise PeerError(reason, f"{peer.name} answered {status}, {answer.reason or 'without a reason'}")
