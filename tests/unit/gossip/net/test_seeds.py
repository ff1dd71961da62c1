"""Seeds: resolved, handed over, and tried no longer than there is something to try."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gossip import Address, Member, State
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


async def first_round(node: Any, names: list[tuple[str, int]], remembered: list[Address]) -> Seeds:
    seeds = Seeds(node, Attempts(lambda: True), names, remembered)
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


def test_without_names_there_is_nothing_to_try_from_the_start() -> None:
    async def story() -> None:
        node: Any = Node()
        assert Seeds(node, Attempts(lambda: True), [], []).exhausted
        assert not Seeds(node, Attempts(lambda: True), [], [KNOWN]).exhausted

    run(story())
