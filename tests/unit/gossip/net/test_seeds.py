"""Seeds: resolved, handed over, and tried no longer than there is something to try."""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from gossip import Address, Member, State
from gossip.net import seeds as seeds_module
from gossip.net.attempts import Attempts
from gossip.net.seeds import Seeds

KNOWN = Address("10.0.0.7", 7946)


class Node:
    """What is handed over, of the node and of its driver."""

    def __init__(self, *members: Member) -> None:
        self.node = self.view = self
        self.joined: list[list[Address]] = []
        self.pumped = asyncio.Event()
        self._members = members

    def members(self) -> tuple[Member, ...]:
        return self._members

    def join(self, seeds: list[Address], now: float) -> None:
        self.joined.append(seeds)

    def now(self) -> float:
        return 1.0

    def pump(self) -> None:
        self.pumped.set()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story, debug=True)


async def first_round(
    node: Any, names: list[tuple[str, int]], remembered: list[Address], attempts: Attempts | None = None
) -> Seeds:
    seeds = Seeds(node, attempts or Attempts(lambda: True), names, remembered)
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
        assert (seeds.exhausted, node.joined) == (True, [])

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


def test_without_names_there_is_nothing_to_try_from_the_start() -> None:
    async def story() -> None:
        node: Any = Node()
        assert Seeds(node, Attempts(lambda: True), [], []).exhausted
        assert not Seeds(node, Attempts(lambda: True), [], [KNOWN]).exhausted

    run(story())
