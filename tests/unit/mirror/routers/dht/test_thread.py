"""The thread in which the DHT runs: its start, its failure and its end are seen on the event loop, within bounds."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

import pytest

from mirror.errors import ConfigError, StartFailed
from mirror.routers import Peer
from mirror.routers.dht.boundary import Call, Counts, Reports
from mirror.routers.dht.lookups import Lookups
from mirror.routers.dht.peers import Peers
from mirror.routers.dht.thread import DhtThread
from mirror.settings import DhtTiming

ME, OTHER = Peer("me", "127.0.0.1", 5001), Peer("other", "127.0.0.1", 5002)
Script = Callable[["Node", Reports, Call], None]


class Node:
    """A node that does in its thread what a test says."""

    address = "127.0.0.1:4001"

    def __init__(self, script: Script) -> None:
        self.counts = Counts()
        self.stopped = threading.Event()
        self.asked: list[bytes] = []
        self._script = script

    def run(self, reports: Reports, listens: Call) -> None:
        self._script(self, reports, listens)

    def stop(self) -> None:
        self.stopped.set()

    def look_up(self, key: bytes) -> None:
        self.asked.append(key)

    def advertise(self, keys: Sequence[bytes]) -> None:
        self.asked += keys

    withdraw = advertise


class Run:
    """A thread with such a node, and what the event loop has heard of it."""

    def __init__(self, script: Script, **timing: float) -> None:
        self.node = Node(script)
        self.peers = Peers(ME, 10)
        settings = DhtTiming(**timing)  # type: ignore[arg-type]
        self.thread = DhtThread(self.node, settings)
        self.lookups = Lookups(self.thread.look_up, 600.0, settings)

    async def start(self) -> None:
        await self.thread.start(self.lookups, self.peers)


def until_stopped(node: Node, reports: Reports, listens: Call) -> None:
    listens()
    assert node.stopped.wait(30)


def test_reports_come_on_the_loop_in_their_order_and_the_end_is_waited_for() -> None:
    def script(node: Node, reports: Reports, listens: Call) -> None:
        listens()
        reports.met("1", OTHER)
        reports.changed(["1"])
        reports.bootstrapped("")
        assert node.stopped.wait(30)

    async def story() -> None:
        run = Run(script)
        assert not run.thread.runs
        await run.start()
        assert run.thread.runs
        await run.thread.close()
        assert not run.thread.runs
        assert run.peers.has_tried
        assert list(run.peers.among(run.peers.table)) == [OTHER]
        run.thread.advertise([bytes(32)])
        run.thread.withdraw([bytes(32)])
        assert run.node.asked == [], "it is over"
        await run.thread.close()

    asyncio.run(story())


def test_a_failure_is_logged_and_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    fails = threading.Event()

    def script(node: Node, reports: Reports, listens: Call) -> None:
        listens()
        assert fails.wait(30)
        raise ExceptionGroup("several", [OSError("the network is gone")])

    async def story() -> None:
        run = Run(script)
        await run.start()
        fails.set()
        async with asyncio.timeout(30):
            while run.thread.runs:
                await asyncio.sleep(0.001)
        await run.thread.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(story())
    assert "the DHT ended for an error; nothing is found any more: OSError: the network is gone" in caplog.text


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (OSError(98, "Address already in use"), StartFailed, "dht: cannot listen on 127.0.0.1:4001: Address already"),
        (ConfigError("data-dir: no key"), ConfigError, "data-dir: no key"),
        (KeyboardInterrupt(), StartFailed, "KeyboardInterrupt"),
    ],
)
def test_an_error_at_the_start_is_raised(error: BaseException, raised: type[Exception], text: str) -> None:
    def script(node: Node, reports: Reports, listens: Call) -> None:
        raise error

    async def story() -> None:
        with pytest.raises(raised, match=text):
            await Run(script).start()

    asyncio.run(story())


def test_the_start_is_waited_for_within_a_bound() -> None:
    def script(node: Node, reports: Reports, listens: Call) -> None:
        assert node.stopped.wait(30)

    async def story() -> None:
        run = Run(script, start_s=0.01)
        with pytest.raises(StartFailed, match=r"does not listen within 0\.01 s"):
            await run.start()
        await run.thread.close()

    asyncio.run(story())


def test_an_end_that_does_not_come_is_waited_for_within_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    ends = threading.Event()

    def script(node: Node, reports: Reports, listens: Call) -> None:
        listens()
        assert ends.wait(30)

    async def story() -> None:
        run = Run(script, stop_s=0.01)
        await run.start()
        await run.thread.close()
        ends.set()

    asyncio.run(story())
    assert "did not stop within 0.01 s" in caplog.text


def test_a_lookup_is_asked_in_the_thread_and_its_answer_ends_the_wait() -> None:
    async def story() -> None:
        run = Run(until_stopped)
        await run.start()
        waiting = run.lookups.begin(bytes(32))
        assert waiting is not None
        assert run.node.asked == [bytes(32)]
        run.lookups.found(bytes(32), "1", is_local=True)
        await waiting
        await run.thread.close()

    asyncio.run(story())
