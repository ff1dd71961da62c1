"""Seeds: resolved, handed over, and tried no longer than there is something to try."""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from gossip import Address, GossipConfig, Member, State
from gossip.net import seeds as seeds_module
from gossip.net.attempts import Attempts
from gossip.net.seeds import Seeds

KNOWN = Address("10.0.0.7", 7946)


HERE = Address("10.0.0.1", 7946)


class Node:
    """What is handed over, of the node and of its driver."""

    def __init__(self, *members: Member, only: str = "") -> None:
        self.node = self.view = self
        self.me = Member("me", HERE, 1, 0, State.ALIVE, b"", changed_at=0.0)
        self.joined: list[list[Address]] = []
        self.pumped = asyncio.Event()
        self._members = members
        self._not_in = {"": "", "IPv4": ":", "IPv6": "."}[only]

    def members(self) -> tuple[Member, ...]:
        return self._members

    def join(self, seeds: list[Address], now: float) -> None:
        self.joined.append(seeds)

    def sends_to(self, address: Address) -> bool:
        return not self._not_in or self._not_in not in address.host

    def now(self) -> float:
        return 1.0

    def pump(self) -> None:
        self.pumped.set()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story, debug=True)


async def first_round(
    node: Any, names: list[tuple[str, int]], remembered: list[Address], attempts: Attempts | None = None
) -> Seeds:
    seeds = Seeds(node, attempts or Attempts(lambda: True), names, remembered, GossipConfig())
    joining = asyncio.create_task(seeds.keep_joining())
    async with asyncio.timeout(15):
        await node.pumped.wait()
    joining.cancel()
    return seeds


def test_addresses_are_handed_over_each_with_its_port() -> None:
    async def story() -> None:
        node = Node()
        await first_round(node, [("127.0.0.1", 7946), ("::1", 7947)], [])
        assert [set(addresses) for addresses in node.joined] == [{Address("127.0.0.1", 7946), Address("::1", 7947)}]

    run(story())


@pytest.mark.parametrize(("state", "tried"), [(State.ALIVE, False), (State.DEAD, True)])
def test_whom_the_run_before_knew_is_tried_only_while_nobody_is_known(state: State, tried: bool) -> None:
    async def story() -> None:
        node = Node(Member("a", KNOWN, 1, 0, state, b"", changed_at=0.0))
        await first_round(node, [("127.0.0.1", 7946)], [KNOWN])
        assert (KNOWN in node.joined[0]) is tried

    run(story())


def test_name_that_cannot_be_asked_for_leaves_nothing_to_try(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        node = Node()
        seeds = await first_round(node, [("ä" * 60, 7946)], [])
        assert (seeds.exhausted, node.joined) == (True, [[]])

    run(story())
    assert "seed not resolved" in caplog.text


def test_name_server_that_does_not_answer_holds_up_no_other_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        node, hangs, attempts = Node(), threading.Event(), Attempts(lambda: True)
        attempts.note("10.0.0.8:3", "Connection refused")

        def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            if host.startswith("hangs"):
                hangs.wait()
            return [(0, 0, 0, "", ("10.0.0.9", port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(seeds_module, "PATIENCE_S", 0.1)
        hanging = [(f"hangs-{number}", 1) for number in range(12)]
        await first_round(node, [*hanging, ("answers", 2), ("10.0.0.8", 3)], [], attempts)
        assert node.joined == [[Address("10.0.0.9", 2), Address("10.0.0.8", 3)]]
        assert attempts.summary.startswith("10.0.0.8:3: Connection refused; hangs-")
        assert attempts.summary.count("no name server has answered") == len(hanging)
        hangs.set()

    run(story())


def named(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let every name stand for these addresses."""

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_node_that_is_the_only_one_of_a_name_has_nothing_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, HERE.host)

    async def story() -> None:
        node = Node()
        seeds = await first_round(node, [("all", HERE.port)], [])
        assert (node.joined, seeds.exhausted) == ([[]], True)

    run(story())


def test_of_all_addresses_of_a_name_those_are_tried_where_no_live_member_is(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, HERE.host, "10.0.0.7", "10.0.0.8", "10.0.0.9")
    others = [
        Member("a", Address("10.0.0.7", 1), 1, 0, State.ALIVE, b"", changed_at=0.0),
        Member("b", Address("10.0.0.8", 1), 1, 0, State.DEAD, b"", changed_at=0.0),
    ]

    async def story() -> None:
        node = Node(*others)
        await first_round(node, [("all", 1)], [])
        assert node.joined == [[Address("10.0.0.1", 1), Address("10.0.0.8", 1), Address("10.0.0.9", 1)]]

    run(story())


def test_few_of_many_addresses_are_tried_at_once_and_not_the_same_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, *(f"10.0.1.{number}" for number in range(100)))

    async def story() -> None:
        one, other = Node(), Node()
        await first_round(one, [("all", 1)], [])
        await first_round(other, [("all", 1)], [])
        assert len(one.joined[0]) == len(other.joined[0]) == seeds_module.TRIED_MAX
        assert set(one.joined[0]) != set(other.joined[0])

    run(story())


def test_addresses_that_the_socket_cannot_send_to_are_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        node, attempts = Node(only="IPv4"), Attempts(lambda: True)
        named(monkeypatch, "fd00::7", "10.0.0.7")
        await first_round(node, [("both", 1)], [], attempts)
        assert (node.joined, attempts.summary) == ([[Address("10.0.0.7", 1)]], "")
        node.pumped.clear()
        named(monkeypatch, "fd00::7")
        seeds = await first_round(node, [("six", 1)], [], attempts)
        assert (node.joined[1:], seeds.exhausted) == ([[]], True)
        assert attempts.summary == "six:1: it has addresses of IPv4 or IPv6 alone, and this node of the other"

    run(story())


def test_without_names_there_is_nothing_to_try_from_the_start() -> None:
    async def story() -> None:
        node: Any = Node()
        assert Seeds(node, Attempts(lambda: True), [], [], GossipConfig()).exhausted
        assert not Seeds(node, Attempts(lambda: True), [], [KNOWN], GossipConfig()).exhausted

    run(story())
