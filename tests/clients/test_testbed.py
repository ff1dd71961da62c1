"""The machinery of these tests: what would break silently, and then make other tests wrong."""

import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Self

import pytest

import gossip
import mirror
from testbed.counters import Count, Flow, PortCounters
from testbed.errors import RunError
from testbed.network import MBIT, Address, Host, Network, accepts, free_address, inside, orphaned, remove_orphans
from testbed.processes import Process, missing, run, usage, wait_until
from testbed.servers import Server
from tests.clients.conftest import need


def python(name: str, program: str, folder: Path) -> Process:
    return Process(name, [sys.executable, "-c", program], folder / f"{name}.log")


class NeverReady(Process):
    """It never becomes ready."""

    def is_ready(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def setpriv() -> None:
    if missing("setpriv"):
        pytest.skip("not installed: setpriv")


def test_the_tree_does_not_shadow_what_is_installed() -> None:
    """`tests/conftest.py` makes testbed importable; `gossip` and `mirror` beside it stay out of the way."""
    checkout = Path(__file__).parents[2]
    if str(checkout) in sys.path or "" in sys.path:
        pytest.skip("the checkout is on sys.path, as `python -m pytest` puts it there")
    for package in (gossip, mirror):
        assert Path(package.__file__ or "").parent != checkout / package.__name__


# Processes


def test_a_process_that_ends_before_it_is_ready_gives_its_output(tmp_path: Path) -> None:
    program = "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"
    server = NeverReady("server", [sys.executable, "-c", program], tmp_path / "log")
    with pytest.raises(RunError, match=r"server has ended; its output: no such thing$"):
        server.start()
    assert not server.running


def test_a_process_that_is_not_ready_in_time_gives_its_output_too(tmp_path: Path) -> None:
    with python("slow", "import time; print('not yet', flush=True); time.sleep(60)", tmp_path) as slow:
        slow.until(lambda: bool(slow.output), "talking")
        with pytest.raises(RunError, match=r"slow is not ready after 0\.1 s; its output: not yet$"):
            slow.until(lambda: False, "ready", 0.1)


def test_a_process_is_stopped_though_it_stands_still_and_tells_its_status(tmp_path: Path) -> None:
    program = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); signal.pause()"
    process = python("still", program, tmp_path)
    process.start()
    process.until(lambda: process.output == "up\n", "up")
    process.send(signal.SIGSTOP)
    assert process.stop() == 7
    assert process.stop() is None
    assert not process.running


def test_a_killed_process_takes_its_descendants_along(tmp_path: Path) -> None:
    program = "import subprocess as s; c = s.Popen(['sleep', '60']); print(c.pid, flush=True); c.wait()"
    process = python("parent", program, tmp_path)
    process.start()
    process.until(lambda: process.output.endswith("\n"), "a parent")
    child = int(process.output)
    assert usage(child) is not None
    process.kill()
    wait_until(lambda: usage(child) is None, "the child to be gone")


def test_what_fails_after_a_start_leaves_no_process(tmp_path: Path) -> None:
    process = python("short", "import time; time.sleep(60)", tmp_path)

    def fail() -> None:
        with process:
            assert process.running
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not process.running


def test_a_process_gets_no_settings_of_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKVALLER_NAME", "outside")
    process = python("child", "import os; print([n for n in os.environ if n.startswith('SKVALLER_')])", tmp_path)
    process.start()
    assert process.wait() == 0
    assert process.output == "[]\n"


def test_a_tool_that_fails_tells_why() -> None:
    with pytest.raises(RunError, match=r"status 2: .*no-such-file"):
        run(["ls", "/no-such-file"])


# Addresses


def test_free_addresses_can_be_listened_on_over_tcp_and_udp() -> None:
    for _ in range(20):
        address = free_address()
        assert not accepts(address)
        with socket.create_server(address), socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.bind(address)
            assert accepts(address)


def test_a_server_is_ready_when_it_accepts_connections(tmp_path: Path) -> None:
    address = free_address()
    command = [sys.executable, "-m", "http.server", "--bind", address.host, str(address.port)]
    with Server("http", command, address, tmp_path / "log"):
        assert accepts(address)
    assert not accepts(address)


# Namespaces


def namespaces_of(pid: int) -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"skvaller-{pid}-*")]


@pytest.mark.clients
def test_namespaces_are_removed_after_a_failure() -> None:
    need("ip", "tc")

    def fail() -> None:
        with ExitStack() as stack:
            Network(stack).host("a", 1_000_000)
            assert len(namespaces_of(os.getpid())) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not namespaces_of(os.getpid())


@pytest.mark.clients
def test_a_host_that_cannot_be_added_leaves_nothing_either() -> None:
    need("ip", "tc")
    with ExitStack() as stack:
        network = Network(stack)
        network.host("a")
        with pytest.raises(RunError, match="File exists"):
            network.host("a")
    assert not namespaces_of(os.getpid())


@pytest.mark.clients
@pytest.mark.parametrize("name", ["reno", "cubic", "bbr"])
def test_hosts_react_to_full_links_as_they_are_told(name: str) -> None:
    """By whatever the kernel has, be it allowed to namespaces or not."""
    need("ip")
    if name not in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split():
        pytest.skip(f"this kernel has no congestion control {name}")
    with ExitStack() as stack:
        network = Network(stack, name)
        here, there = network.host("here"), network.host("there")
        for address in (here.address, "127.0.0.1"):
            listening = stack.enter_context(inside(here.netns, partial(socket.create_server, (address, 0))))
            asker = there if address == here.address else here
            asking = inside(asker.netns, partial(socket.create_connection, listening.getsockname()))
            with asking, listening.accept()[0] as answering:
                assert [congestion_of(asking), congestion_of(answering)] == [name, name]
    with ExitStack() as stack, pytest.raises(RunError, match=r"congctl telepathy: .*congestion"):
        Network(stack, "telepathy").host("a")
    assert not namespaces_of(os.getpid())


def congestion_of(connection: socket.socket) -> str:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


@pytest.mark.clients
def test_what_a_killed_process_left_is_removed_and_nothing_else() -> None:
    need("ip")
    gone = int(run([sys.executable, "-c", "import os; print(os.getpid())"]))
    names = [f"skvaller-{gone}-left", f"skvaller-{os.getpid()}-mine", f"skvaller-test-{gone}-other"]
    try:
        for name in names:
            run(["ip", "netns", "add", name])
        assert [orphaned(name) for name in names] == [True, False, False]
        remove_orphans()
        assert [Path("/run/netns", name).exists() for name in names] == [False, True, True]
    finally:
        for name in names[1:]:
            run(["ip", "netns", "delete", name])


@pytest.mark.clients
def test_hosts_see_each_other_until_one_is_cut_off_and_nobody_else_sees_them() -> None:
    need("ip", "tc", "nft")
    with ExitStack() as stack:
        network = Network(stack)
        a, b = network.host("a"), network.host("b")
        before = network.traffic()
        address = Address(b.address, 5000)
        with inside(b.netns, lambda: socket.create_server(address)):
            assert accepts(address, a.netns)
            assert (network.traffic()["b"] - before["b"]).received > 0
            a.cut()
            with pytest.raises(TimeoutError):
                inside(a.netns, lambda: socket.create_connection(address, 0.5))
            a.rejoin()
            assert accepts(address, a.netns)


@pytest.mark.clients
def test_no_connection_keeps_a_limited_uplink_for_itself_because_it_was_there_first() -> None:
    """The first one takes four fifths of it where its host sees the queue, and a third or so where it does not."""
    need("ip", "tc")
    with ExitStack() as stack:
        network = Network(stack, "cubic")
        a, b = network.host("a"), network.host("b")
        a.limit_sent(20 * MBIT)
        listening = stack.enter_context(inside(b.netns, partial(socket.create_server, (b.address, 0))))

        def connect() -> Arriving:
            sending = stack.enter_context(inside(a.netns, partial(socket.create_connection, listening.getsockname())))
            return stack.enter_context(Arriving(sending, listening.accept()[0]))

        first = connect()
        first.await_more(1 << 20)
        others = [connect() for _ in range(5)]

        def await_of_all(count: int) -> float:
            """Wait until so many more bytes have come; return which part of them by the first."""
            of_first, of_others = first.count, sum(other.count for other in others)
            while (came := sum(other.count for other in others) - of_others + first.count - of_first) < count:
                first.await_more(1 << 16)
            return (first.count - of_first) / came

        await_of_all(6 << 20)  # they come to terms with each other
        assert await_of_all(8 << 20) < 0.7


class Arriving:
    """A connection over which as much as it can carry is sent.

    Args:
        sending: its end that sends.
        receiving: its other end.
    """

    def __init__(self, sending: socket.socket, receiving: socket.socket) -> None:
        self.count = 0
        """Bytes that have come."""
        self._ends = sending, receiving
        self._threads = [threading.Thread(target=target) for target in (self._send, self._receive)]
        self._more = threading.Condition()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def await_more(self, count: int) -> None:
        """Wait until so many more bytes have come."""
        with self._more:
            until = self.count + count
            assert self._more.wait_for(lambda: self.count >= until, 30)

    def _send(self) -> None:
        with suppress(OSError):
            while True:
                self._ends[0].sendall(bytes(1 << 16))

    def _receive(self) -> None:
        while count := len(self._ends[1].recv(1 << 16)):
            with self._more:
                self.count += count
                self._more.notify_all()


@pytest.mark.clients
def test_what_a_divided_network_carries_is_counted_by_port_and_direction() -> None:
    need("ip", "tc", "nft")
    with ExitStack() as stack:
        network = Network(stack)
        a, b, c = (network.host(name) for name in "abc")
        counters = stack.enter_context(PortCounters([a, b, c], [5000]))

        def send(target: Host, port: int) -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as udp:
                udp.sendto(bytes(100), (target.address, port))

        for port in (5000, 5001):
            inside(a.netns, lambda port=port: send(b, port))  # type: ignore[misc]
        one = Count(1, 128)
        assert counters.read() == {"a": Flow(Count(), one), "b": Flow(one, Count()), "c": Flow(Count(), Count())}

        with network.divided([a], [b]):
            inside(a.netns, lambda: send(b, 5000))
            inside(c.netns, lambda: send(b, 5000))
        assert counters.read() == {
            "a": Flow(Count(), one + one),
            "b": Flow(one + one, Count()),
            "c": Flow(Count(), one),
        }

        network.lose(100)
        inside(a.netns, lambda: send(b, 5000))
        assert counters.read()["b"].received == one + one
