"""Nodes that find each other by one name for all of them, as pods do by a headless service of Kubernetes.

The name server is a double: it tells each node, at each question, what the list of addresses is then.
"""

import asyncio
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gossip import Gossip, Listen, MemberFailed, MemberSuspected, NameConflict, State, local

NAME = "skvaller-gossip.skvaller.svc.cluster.local."
PORT = 17946


class NameServer:
    """Knows one name; `addresses` are those of all pods, ready or not."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, port: Any, *rest: Any, **named: Any) -> list[Any]:
        if host != NAME:
            return self._real(host, port, *rest, **named)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, port)) for address in self.addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> NameServer:
    """A name server in the place of the system's."""
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    return server


def pod(node: str, address: str, folder: Path) -> Gossip:
    """The agent of a node of Kubernetes, whose folder outlives its pods."""
    listen = Listen(address, PORT)
    config = replace(local(), resolve_alone_s=0.1, resolve_s=0.1)  # nodes here live for seconds
    return Gossip(node, config, listen=listen, seeds=[f"{NAME}:{PORT}"], snapshot=folder / f"{node}.json")


def alive(node: Gossip) -> dict[str, str]:
    return {it.name: it.address.host for it in node.view.members() if it.state is State.ALIVE}


async def sees(node: Gossip, wanted: dict[str, str]) -> None:
    async with asyncio.timeout(15):
        while alive(node) != wanted:
            await asyncio.sleep(0.005)


def test_the_first_pod_is_settled_alone_and_others_find_it(names: NameServer, tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            names.addresses = ["127.9.0.1"]
            first = await stack.enter_async_context(pod("a", "127.9.0.1", tmp_path))
            async with asyncio.timeout(15):
                while not first.settled:
                    await asyncio.sleep(0.005)
            assert first.alone == ""
            names.addresses = ["127.9.0.1", "127.9.0.2"]
            second = await stack.enter_async_context(pod("b", "127.9.0.2", tmp_path))
            await sees(first, {"b": "127.9.0.2"})
            await sees(second, {"a": "127.9.0.1"})

    asyncio.run(story(), debug=True)


def test_pods_that_started_before_their_names_were_known_find_each_other(names: NameServer, tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(pod("a", "127.9.0.1", tmp_path))
            second = await stack.enter_async_context(pod("b", "127.9.0.2", tmp_path))
            async with asyncio.timeout(15):
                while "its name is not resolved" not in first.alone:
                    await asyncio.sleep(0.005)
            names.addresses = ["127.9.0.2", "127.9.0.1"]
            await sees(first, {"b": "127.9.0.2"})
            await sees(second, {"a": "127.9.0.1"})

    asyncio.run(story(), debug=True)


@pytest.mark.parametrize("goodbye", [True, False], ids=["stopped", "killed"])
def test_a_pod_that_is_replaced_has_its_name_at_its_new_address_without_suspicion(
    names: NameServer, tmp_path: Path, goodbye: bool
) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            names.addresses = ["127.9.0.1", "127.9.0.2"]
            first = await stack.enter_async_context(pod("a", "127.9.0.1", tmp_path))
            second = await stack.enter_async_context(pod("b", "127.9.0.2", tmp_path))
            await sees(first, {"b": "127.9.0.2"})
            if goodbye:
                await second.leave()
            await second.close()
            names.addresses = ["127.9.0.1", "127.9.0.3"]
            replaced = await stack.enter_async_context(pod("b", "127.9.0.3", tmp_path))
            await sees(first, {"b": "127.9.0.3"})
            await sees(replaced, {"a": "127.9.0.1"})
            happened = first.counters.events
            assert not happened[NameConflict]
            if goodbye:
                assert not happened[MemberSuspected] + happened[MemberFailed]

    asyncio.run(story(), debug=True)
