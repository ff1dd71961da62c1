"""Who wants to be reached back is, at the address that gossip knows, and nobody else can have packets sent anywhere."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from starlette.types import Message

from mirror.app.asked import AskedBy
from mirror.app.examination.echoes import Echoes
from mirror.app.examination.reaching import Myself, Reaching
from mirror.doctor.facts import MemberFacts
from mirror.errors import Denied, NotFound, OciError, PeerError, Reason, Refusal, Unsupported
from mirror.routers import MemberStatus, Peer, Place
from mirror.settings import DoctorSettings
from mirror.sources.peers.protocol import REACH_BACK_PATH

SETTINGS = DoctorSettings(copies=1, echo_s=0.0, connect_s=5.0, again_s=0.05)
PROVEN = AskedBy("n2", is_proven=True)


@dataclass
class Lab:
    """Node n1, which knows n2; its connections go to a server of the test."""

    port: int = 0
    answer: bytes | PeerError = b"{}"
    busy: int = 0
    sent: list[str] = field(default_factory=list)
    asked: list[Peer] = field(default_factory=list)
    namesake: str = ""

    def place(self, name: str) -> Place | None:
        return Place("127.0.0.1", self.port, "alive")

    def send(self, name: str, payload: bytes, *, fill: bool = False) -> None:
        self.sent.append(name)

    async def follow(self, heard: Callable[[str, bytes], object]) -> None:
        raise NotImplementedError

    async def read(self, peer: Peer, path: str, max_bytes: int, method: str = "GET") -> bytes:
        self.asked.append(peer)
        self.busy -= 1
        if self.busy >= 0:
            raise PeerError(Reason.BUSY, "busy")
        if isinstance(self.answer, PeerError):
            raise self.answer
        return self.answer

    def statuses(self) -> list[MemberStatus]:
        return [
            MemberStatus(Peer("n1", "127.0.0.1", 1), "alive", 0, itself=True),
            MemberStatus(Peer("n2", "127.0.0.1", self.port), "alive", 0, itself=False),
        ]

    def reaching(self, settings: DoctorSettings = SETTINGS) -> Reaching:
        return Reaching(Myself("n1", "1.0"), self.statuses, self, Echoes(self, settings), self, settings)


async def asked(
    reaching: Reaching, by: AskedBy = PROVEN, trial: str = "7", path: str = REACH_BACK_PATH, method: str = "GET"
) -> Any:
    """What a member is answered; None where this is not what it asks."""
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "query_string": f"trial={trial}".encode(), "headers": [],
        "client": ("127.0.0.9", 1),
    }  # fmt: skip
    if not await reaching.answer(scope, send, by):
        return None
    return json.loads(b"".join(message.get("body", b"") for message in said))


def with_server(work: Callable[[Lab], Any], lab: Lab | None = None) -> Any:
    async def main() -> Any:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            here = lab or Lab()
            here.port = server.sockets[0].getsockname()[1]
            return await work(here)

    return asyncio.run(main())


def test_who_asks_is_reached_back_at_its_known_address() -> None:
    async def work(lab: Lab) -> None:
        back = await asked(lab.reaching())
        assert (back["name"], back["knows_at"], back["seen_from"]) == ("n1", "127.0.0.1", "127.0.0.9")
        assert not back["peer"]["problem"]
        assert not back["gossip"]["problem"]
        assert [peer.name for peer in lab.asked] == ["n2"]
        assert set(lab.sent) == {"n2"}

    with_server(work)


@pytest.mark.parametrize(
    ("by", "trial", "method", "error"),
    [
        (AskedBy("n9", is_proven=True), "7", "GET", Denied),
        (AskedBy("n1", is_proven=True), "7", "GET", Denied),
        (AskedBy(None, is_proven=False), "7", "GET", Denied),
        (PROVEN, "x", "GET", NotFound),
        (PROVEN, "99999999999999999999", "GET", NotFound),
        (PROVEN, "7", "POST", Unsupported),
    ],
)
def test_nobody_else_is(by: AskedBy, trial: str, method: str, error: type[OciError]) -> None:
    async def work(lab: Lab) -> None:
        with pytest.raises(error):
            await asked(lab.reaching(), by, trial, method=method)
        assert not lab.sent
        assert not lab.asked

    with_server(work)


def test_a_member_has_it_done_once_a_second() -> None:
    async def work(lab: Lab) -> None:
        reaching = lab.reaching(replace(SETTINGS, again_s=3600.0))
        await asked(reaching)
        with pytest.raises(Refusal):
            await asked(reaching)

    with_server(work)


def test_other_paths_are_for_others() -> None:
    with_server(lambda lab: asked(lab.reaching(), path="/v2/"))


def examined(answer: bytes | PeerError, busy: int = 0) -> MemberFacts:
    async def work(lab: Lab) -> MemberFacts:
        reaching = lab.reaching()
        return await reaching.examine(lab.statuses()[1], 7)

    facts: MemberFacts = with_server(work, Lab(answer=answer, busy=busy))
    return facts


def back(**changed: Any) -> bytes:
    way = {"seconds": 0.1, "problem": ""}
    said = {
        "name": "n2", "version": "1.0", "unix_s": 1e9, "knows_at": "10.0.0.1", "seen_from": "", "peer": way,
        "gossip": way, "heard": ["small", "full", "nonsense"],
    }  # fmt: skip
    return json.dumps(said | changed).encode()


def test_what_a_member_says_is_taken_as_far_as_it_can_be_so() -> None:
    facts = examined(back(peer={"seconds": None, "problem": "refused\x1b[2J"}))
    assert facts.back is not None
    assert facts.back.peer.problem == "refused?[2J"
    assert facts.back.heard == ["small", "full"]
    assert facts.ahead_s is not None
    assert facts.ahead_s < -1e8
    assert facts.peer.is_open
    assert facts.gossip.is_open


def test_a_member_that_was_asked_a_moment_ago_is_asked_once_more() -> None:
    assert examined(back(), busy=1).back is not None
    assert examined(back(), busy=2).problem == "busy"


@pytest.mark.parametrize(
    "answer",
    [b"[]", b"{}", b"[" * 4000, back(unix_s="x"), back(knows_at="not an address"), PeerError(Reason.BROKEN, "no")],
)
def test_a_member_that_says_nothing_of_use_has_a_problem(answer: bytes | PeerError) -> None:
    facts = examined(answer)
    assert facts.back is None
    assert facts.problem
