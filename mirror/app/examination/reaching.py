"""Ways between this node and a member: this node tries them, and asks the member to try those in the other direction.

A member reaches back only who asks, and only where gossip knows that node: nobody can have it send packets elsewhere.
Its answer is short, so that it arrives where large packets do not.
"""

import asyncio
import contextlib
import ipaddress
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import parse_qs

import msgspec
from starlette.types import Scope, Send

from ...doctor.facts import ASKING, Back, Datagram, MemberFacts, Way
from ...errors import Denied, NotFound, PeerError, Reason, Refusal, Unsupported
from ...routers import Datagrams, MemberStatus, Peer
from ...settings import DoctorSettings
from ...sources.peers.protocol import REACH_BACK_PATH
from ..asked import AskedBy
from ..responses import send_whole
from .echoes import NUMBER_BITS, Echoes

_ANSWER_MAX_BYTES: Final = 4096
"""Bounds what a member says that it found, in bytes: some lines of text."""
_PROBLEM_MAX: Final = 200
"""Bounds what is shown of a line that a member wrote, in characters; two of them and the rest fit one small packet."""
_ANSWERED: Final = frozenset((Datagram.SMALL_CAME, Datagram.FULL_CAME, Datagram.FULL_BACK))


class Questions(Protocol):
    """Small questions to members' peer endpoints."""

    async def read(self, peer: Peer, path: str, max_bytes: int, method: str = "GET") -> bytes:
        """What a peer answers; raises PeerError."""
        ...


@dataclass(frozen=True, slots=True)
class Myself:
    """This node, as it tells others.

    Args:
        name: of the node.
        version: of the program.
    """

    name: str
    version: str


class Reaching:
    """Tries the ways to members, and answers those that want to be reached back.

    Args:
        me: this node.
        statuses: all members that are known, dead ones included.
        datagrams: says where a member's gossip is.
        echoes: tries the way by datagrams.
        questions: asks members.
        settings: bounds.
    """

    def __init__(
        self,
        me: Myself,
        statuses: Callable[[], Sequence[MemberStatus]],
        datagrams: Datagrams,
        echoes: Echoes,
        questions: Questions,
        settings: DoctorSettings,
    ) -> None:
        self._me = me
        self._statuses = statuses
        self._datagrams = datagrams
        self._echoes = echoes
        self._questions = questions
        self._settings = settings
        self._asked_at: dict[str, float] = {}

    # This node looks

    async def examine(self, status: MemberStatus, number: int) -> MemberFacts:
        """What lies between this node and a member.

        Args:
            status: the member.
            number: of the trial; no two have the same.
        """
        peer, place = status.peer, self._datagrams.place(status.peer.name)
        gossip_port = place.port if place is not None else 0
        sending = asyncio.create_task(self._echoes.send(peer.name, number))
        try:
            to_peer, to_gossip = await asyncio.gather(
                self._connect(peer.host, peer.port), self._connect(peer.host, gossip_port)
            )
            sent_unix_s = time.time()
            back, problem = await self._ask_back(peer, number) if to_peer.is_open else (None, to_peer.problem)
            await sending
        finally:
            sending.cancel()
        came = await self._echoes.until_heard(peer.name, number, _ANSWERED)
        return MemberFacts(
            peer.name,
            status.state,
            peer.host,
            peer.port,
            gossip_port,
            to_peer,
            to_gossip,
            sorted(came & _ANSWERED),
            None if back is None else back.unix_s - sent_unix_s,
            back,
            problem,
        )

    async def _ask_back(self, peer: Peer, number: int) -> tuple[Back | None, str]:
        """Have a member reach this node back; return what it found, or why it does not say."""
        question = f"{REACH_BACK_PATH}?trial={number}"
        try:
            try:
                body = await self._questions.read(peer, question, _ANSWER_MAX_BYTES)
            except PeerError as error:
                if error.reason is not Reason.BUSY:
                    raise
                await asyncio.sleep(self._settings.again_s)  # it was asked for the same a moment ago
                body = await self._questions.read(peer, question, _ANSWER_MAX_BYTES)
        except PeerError as error:
            return None, str(error)
        try:
            return _checked(msgspec.json.decode(body, type=Back)), ""
        except (ValueError, RecursionError):
            return None, f"{peer.name} did not say what it found: it may run another version"

    # Another one looks

    async def answer(self, scope: Scope, send: Send, asked_by: AskedBy) -> bool:
        """Answer a member that wants to be reached back; return whether this is what is asked.

        Raises:
            OciError: the question is none that is answered.
        """
        if scope["path"] != REACH_BACK_PATH:
            return False
        came_unix_s = time.time()
        if scope["method"] not in ("GET", "HEAD"):
            raise Unsupported(f"{REACH_BACK_PATH} takes GET")
        trial = parse_qs(scope["query_string"].decode("latin-1")).get("trial", [""])[0]
        if not trial.isdecimal() or len(trial) > 20 or int(trial) >= 1 << NUMBER_BITS:
            raise NotFound("trial is the number of a trial")
        asker = next((it.peer for it in self._statuses() if it.peer.name == asked_by.name and not it.itself), None)
        if asker is None:
            raise Denied(f"{asked_by.name or 'who names no node'} is no member that {self._me.name} knows")
        self._admit(asker.name)
        client = scope.get("client")
        back = await self._reach_back(asker, int(trial), came_unix_s, client[0] if client else "")
        await send_whole(scope, send, msgspec.json.encode(back))
        return True

    def _admit(self, name: str) -> None:
        now = time.monotonic()
        self._asked_at = {it: at for it, at in self._asked_at.items() if now - at < self._settings.again_s}
        if name in self._asked_at:
            raise Refusal(Reason.BUSY, f"{name} was reached back a moment ago: ask again in a second")
        self._asked_at[name] = now

    async def _reach_back(self, asker: Peer, number: int, came_unix_s: float, seen_from: str) -> Back:
        place = self._datagrams.place(asker.name)
        to_peer, to_gossip, heard, _ = await asyncio.gather(
            self._question(asker),
            self._connect(asker.host, place.port if place else 0),
            self._echoes.until_heard(asker.name, number, ASKING),
            self._echoes.send(asker.name, number, (Datagram.SMALL_CAME, Datagram.FULL_BACK)),
        )
        return Back(
            self._me.name,
            self._me.version,
            came_unix_s,
            asker.host,
            seen_from.removeprefix("::ffff:"),
            to_peer,
            to_gossip,
            sorted(heard.intersection(ASKING)),
        )

    async def _question(self, peer: Peer) -> Way:
        """Ask a member something small, as members do."""
        return await _tried(self._asked(peer), self._settings.connect_s + self._settings.echo_s)

    async def _asked(self, peer: Peer) -> None:
        await self._questions.read(peer, "/v2/", _ANSWER_MAX_BYTES)

    async def _connect(self, host: str, port: int) -> Way:
        """Try whether a TCP port takes a connection."""
        return await _tried(_connected(host, port), self._settings.connect_s)


async def _connected(host: str, port: int) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _tried(work: Awaitable[None], within_s: float) -> Way:
    """Whether something succeeds, how long it takes, or why it does not."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(within_s):
            await work
    except TimeoutError:
        return Way(None, f"no answer within {within_s:g} s")
    except PeerError as error:
        return Way(None, str(error)[:_PROBLEM_MAX])
    except OSError as error:
        return Way(None, (error.strerror or str(error))[:_PROBLEM_MAX])
    return Way(time.monotonic() - began)


def _checked(back: Back) -> Back:
    """What a member says, as people and their terminals may see it; raise ValueError where it cannot be so."""
    if not math.isfinite(back.unix_s):
        raise ValueError("no time")
    for host in (back.knows_at, back.seen_from):
        if host:
            ipaddress.ip_address(host)
    return Back(
        _printable(back.name),
        _printable(back.version),
        back.unix_s,
        back.knows_at,
        back.seen_from,
        _shown(back.peer),
        _shown(back.gossip),
        [kind for kind in ASKING if kind in back.heard],
    )


def _shown(way: Way) -> Way:
    """A way as a member tells of it."""
    return Way(None, _printable(way.problem)) if way.problem else Way(way.seconds)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:_PROBLEM_MAX])
