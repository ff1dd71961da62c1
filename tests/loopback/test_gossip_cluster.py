"""What several nodes of gossip do together for their applications and their operators, on loopback."""

import asyncio
import socket
import stat
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gossip import (
    Address,
    Answered,
    BroadcastReceived,
    ConfigError,
    Delegate,
    DeliveryError,
    FilterKind,
    Gossip,
    GossipConfig,
    Listen,
    Member,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MessageReceived,
    NameConflict,
    Rejection,
    Sealing,
    Span,
    State,
    StateReceived,
    key_id,
    load_keys,
    local,
    save_keys,
)
from gossip.net import attempts

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
WITHIN_S = 15.0


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story, debug=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.005)


async def first(node: Gossip, kind: type) -> Any:
    """The next event of a kind."""
    async with asyncio.timeout(WITHIN_S):
        async for event in node.events():
            if isinstance(event, kind):
                return event
    raise AssertionError


def alive(node: Gossip) -> set[str]:
    return {member.name for member in node.view.members() if member.state is State.ALIVE}


async def together(stack: AsyncExitStack, *nodes: Gossip) -> None:
    """Start nodes, all but the first of which have a seed, and wait until all see each other."""
    for node in nodes:
        await stack.enter_async_context(node)
    names = {node.name for node in nodes}
    await until(lambda: all(alive(node) == names - {node.name} for node in nodes))


async def three(stack: AsyncExitStack, **settings: Any) -> list[Gossip]:
    one = Gossip("n1", local(), **settings)
    await stack.enter_async_context(one)
    others = [Gossip(f"n{i}", local(), seeds=[str(one.address)], **settings) for i in (2, 3)]
    for other in others:
        await stack.enter_async_context(other)
    nodes = [one, *others]
    await until(lambda: all(len(alive(node)) == 2 for node in nodes))
    return nodes


# Messages


@pytest.mark.parametrize("keys", [(), (OLD,)])
def test_messages_arrive_by_datagram_by_stream_and_at_all(keys: tuple[bytes, ...]) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, two, three_ = await three(stack, keys=keys)
            short, long = asyncio.create_task(first(two, MessageReceived)), bytes(2**20)
            await asyncio.sleep(0)
            one.send("n2", b"short")
            assert await short == MessageReceived("n1", b"short")
            listening = asyncio.create_task(first(two, MessageReceived))
            await asyncio.sleep(0)
            await one.send_reliably("n2", long)
            assert await listening == MessageReceived("n1", long)
            heard = [asyncio.create_task(first(node, BroadcastReceived)) for node in (two, three_)]
            await asyncio.sleep(0)
            one.broadcast(b"to all")
            assert await asyncio.gather(*heard) == [BroadcastReceived("n1", b"to all")] * 2

    run(story())


def test_reliable_message_to_one_that_is_gone_says_so() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, two, _ = await three(stack)
            await two.close()
            with pytest.raises(DeliveryError, match="did not reach n2"):
                await one.send_reliably("n2", b"hello")

    run(story())


def test_ping_gives_a_time_or_an_error() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, two, _ = await three(stack)
            assert 0 < await one.ping("n2", timeout=WITHIN_S) < WITHIN_S
            await two.close()
            with pytest.raises(DeliveryError, match=r"n2 did not answer within 0\.2 s"):
                await one.ping("n2")

    run(story())


class Application(Delegate):
    """Gives a state, and may refuse others."""

    def __init__(self, state: bytes, *, merges: bool = True) -> None:
        self.own_state = state
        self.merges = merges
        self.asked: list[set[str]] = []

    def state(self, *, joining: bool) -> bytes:
        return self.own_state + (b" joining" if joining else b"")

    def merge(self, members: Sequence[Member]) -> bool:
        self.asked.append({member.name for member in members})
        return self.merges


def test_applications_exchange_their_state_when_they_join() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Gossip("n1", local(), delegate=Application(b"one")))
            two = Gossip("n2", local(), seeds=[str(one.address)], delegate=Application(b"two"))
            heard = asyncio.create_task(first(one, StateReceived)), asyncio.create_task(first(two, StateReceived))
            await asyncio.sleep(0)
            await stack.enter_async_context(two)
            at_one, at_two = [await task for task in heard]
            assert at_one == StateReceived("n2", b"two joining")
            assert (at_two.sender, at_two.payload[:3]) == ("n1", b"one")

    run(story())


@pytest.mark.parametrize("refuser", [1, 2])
def test_either_side_can_refuse_to_merge(refuser: int) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            applications = [Application(b"", merges=refuser != 1), Application(b"", merges=refuser != 2)]
            one = await stack.enter_async_context(Gossip("n1", local(), delegate=applications[0]))
            two = await stack.enter_async_context(
                Gossip("n2", local(), seeds=[str(one.address)], delegate=applications[1])
            )
            await until(lambda: one.counters.rejected[Rejection.VETO] + two.counters.rejected[Rejection.VETO] > 0)
            assert applications[refuser - 1].asked
            assert refuser == 2 or alive(one) == set()  # the one that dialled is told of the other by datagram, too

    run(story())


def test_application_keeps_a_member_out() -> None:
    class Doorkeeper(Delegate):
        def admit(self, member: Member) -> bool:
            return member.metadata != b"nobody's"

    async def story() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Gossip("n1", local(), delegate=Doorkeeper()))
            two = Gossip("n2", local(), seeds=[str(one.address)])
            two.update(b"nobody's")
            await stack.enter_async_context(two)
            await until(lambda: one.counters.rejected[Rejection.VETO] > 0 and alive(two) == {"n1"})
            assert alive(one) == set()
            two.update(b"somebody's")
            await until(lambda: alive(one) == {"n2"})

    run(story())


def test_application_attaches_something_to_its_answers() -> None:
    class Attaching(Delegate):
        def acknowledge(self) -> bytes:
            return b"coordinates"

    async def story() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Gossip("n1", local()))
            await together(stack, Gossip("n2", local(), seeds=[str(one.address)], delegate=Attaching()))
            await until(lambda: alive(one) == {"n2"})
            answer = asyncio.create_task(first(one, Answered))
            await asyncio.sleep(0)
            await one.ping("n2", timeout=WITHIN_S)
            assert (await answer).payload == b"coordinates"

    run(story())


def test_application_that_raises_stops_nothing() -> None:
    class Broken(Delegate):
        def state(self, *, joining: bool) -> bytes:
            raise RuntimeError("a bug")

        def acknowledge(self) -> bytes:
            raise RuntimeError("a bug")

    async def story() -> None:
        async with AsyncExitStack() as stack:
            one = Gossip("n1", local(), delegate=Broken())
            await stack.enter_async_context(one)
            await together(stack, Gossip("n2", local(), seeds=[str(one.address)]))
            await until(lambda: alive(one) == {"n2"})

    run(story())


# Keys


def test_keys_of_the_cluster_change_step_by_step_and_are_kept(tmp_path: Path) -> None:
    async def story() -> None:
        files = [tmp_path / f"keys{i}" for i in range(3)]
        for file in files:
            save_keys(file, [OLD])
        async with AsyncExitStack() as stack:
            nodes = [Gossip("n0", local(), keys=load_keys(files[0]), key_file=files[0])]
            await stack.enter_async_context(nodes[0])
            seeds = [str(nodes[0].address)]
            for i in (1, 2):
                node = Gossip(f"n{i}", local(), seeds=seeds, keys=load_keys(files[i]), key_file=files[i])
                nodes.append(await stack.enter_async_context(node))
            await until(lambda: all(len(alive(node)) == 2 for node in nodes))
            keys = nodes[1].keys
            with pytest.raises(DeliveryError, match="install it there first"):
                await keys.use(key_id(NEW))
            with pytest.raises(DeliveryError, match="use another"):
                await keys.remove(key_id(OLD))
            for step, ids in (
                (keys.install(NEW), (key_id(OLD), key_id(NEW))),
                (keys.use(key_id(NEW)), (key_id(NEW), key_id(OLD))),
                (keys.remove(key_id(OLD)), (key_id(NEW),)),
            ):
                outcomes = await step
                assert {name: (ring.ids, ring.problem) for name, ring in outcomes.items()} == {
                    node.name: (ids, "") for node in nodes
                }
            assert [load_keys(file) for file in files] == [[NEW]] * 3
            assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
            heard = asyncio.create_task(first(nodes[2], BroadcastReceived))
            await asyncio.sleep(0)
            nodes[0].broadcast(b"still here")
            assert (await heard).payload == b"still here"
            assert all(node.counters.events[MemberSuspected] == 0 for node in nodes)
            late = await stack.enter_async_context(Gossip("late", local(), seeds=seeds, keys=[OLD]))
            await until(lambda: nodes[0].counters.rejected[Rejection.KEY] > 0)
            assert alive(late) == set()

    run(story())


def test_step_that_a_member_missed_names_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, two, _ = await three(stack, keys=[OLD])
            await two.close()
            outcomes = await one.keys.install(NEW)
            assert [name for name, outcome in outcomes.items() if outcome.problem] == ["n2"]
            with pytest.raises(DeliveryError, match="on n2"):
                await one.keys.use(key_id(NEW))

    run(story())


def test_plain_cluster_takes_no_keys_over_the_wire() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, *_ = await three(stack)
            with pytest.raises(ConfigError, match="key file"):
                await one.keys.install(NEW)

    run(story())


def test_running_cluster_goes_from_plain_to_sealed_without_losing_sight() -> None:
    steps: list[dict[str, Any]] = [
        {},
        {"keys": [OLD], "sealing": Sealing.ALLOW},
        {"keys": [OLD], "sealing": Sealing.PREFER},
        {"keys": [OLD], "sealing": Sealing.REQUIRE},
    ]

    async def story() -> None:
        async with AsyncExitStack() as stack:
            nodes = [Gossip("n0", local())]
            await stack.enter_async_context(nodes[0])
            nodes.append(await stack.enter_async_context(Gossip("n1", local(), seeds=[str(nodes[0].address)])))
            for settings in steps[1:]:
                for i, node in enumerate(nodes):
                    address, other = node.address, nodes[1 - i]
                    await node.leave()
                    await node.close()
                    restarted = Gossip(
                        node.name, local(), listen=Listen(*address), seeds=[str(other.address)], **settings
                    )
                    nodes[i] = await stack.enter_async_context(restarted)
                    await until(lambda: all(len(alive(node)) == 1 for node in nodes))
            plain = await stack.enter_async_context(Gossip("plain", local(), seeds=[str(nodes[0].address)]))
            await until(lambda: nodes[0].counters.rejected[Rejection.SEAL] > 0)
            assert alive(plain) == set()

    run(story())


# Names, networks, versions


def test_of_two_nodes_with_one_name_the_later_gives_way() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, two, three_ = await three(stack)
            conflict = asyncio.create_task(first(one, NameConflict))
            await asyncio.sleep(0)
            namesake = Gossip("n1", local(), seeds=[str(two.address), str(three_.address)])
            await stack.enter_async_context(namesake)
            await until(lambda: namesake.view.gave_way_to == one.address)
            assert not (await conflict).gives_way

            def addresses() -> set[Address]:
                return {m.address for node in (two, three_) for m in node.view.members() if m.name == "n1"}

            await until(lambda: addresses() == {one.address} and alive(two) == {"n1", "n3"})

    run(story())


def test_node_restarted_at_another_address_takes_its_name_over() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one, two, three_ = await three(stack)
            await three_.close()
            again = await stack.enter_async_context(Gossip("n3", local(), seeds=[str(one.address)]))
            await until(
                lambda: all(
                    [m.address for m in node.view.members() if m.name == "n3" and m.state is State.ALIVE]
                    == [again.address]
                    for node in (one, two)
                )
            )
            assert again.view.gave_way_to is None

    run(story())


def test_stream_from_a_network_that_is_not_allowed_is_closed() -> None:
    async def story() -> None:
        async with Gossip("n1", GossipConfig(allow=("127.0.0.2/32",))) as node:
            reader, writer = await asyncio.open_connection(*node.address)
            async with asyncio.timeout(WITHIN_S):
                assert await reader.read() == b""
            writer.close()
            await until(lambda: node.counters.rejected[Rejection.ALLOW] == 1)

    run(story())


def test_versions_that_have_nothing_in_common_do_not_mix_and_say_so() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Gossip("n1", local()))
            other = Gossip("n2", GossipConfig(protocol=Span(2, 3)), seeds=[str(one.address)])
            await stack.enter_async_context(other)
            await until(lambda: other.counters.rejected[Rejection.VERSION] > 0)
            assert alive(one) == alive(other) == set()

    run(story())


# Memory


def test_node_finds_the_others_again_without_seeds(tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Gossip("n1", local()))
            two = Gossip("n2", local(), seeds=[str(one.address)], snapshot=tmp_path / "members.json")
            await stack.enter_async_context(two)
            await until(lambda: alive(two) == {"n1"})
            await two.close()
            again = Gossip("n2", local(), snapshot=tmp_path / "members.json")
            await stack.enter_async_context(again)
            await until(lambda: alive(again) == {"n1"} and alive(one) == {"n2"})

    run(story())


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"epoch": -1, "members": []}', b'{"epoch": 1, "members": ["x:y:z"]}']
)
def test_damaged_memory_is_no_reason_not_to_start(tmp_path: Path, content: bytes) -> None:
    async def story() -> None:
        path = tmp_path / "members.json"
        path.write_bytes(content)
        async with Gossip("n1", local(), snapshot=path) as node:
            assert node.settled

    run(story())


def test_epoch_goes_on_though_the_clock_went_back(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "members.json"
        future = (int(time.time()) + 86400 * 365) * 1000
        path.write_text(f'{{"epoch": {future}, "members": []}}')
        async with Gossip("n1", local(), snapshot=path) as node:
            assert node.view.me.epoch == future + 1

    run(story())


# Events and stalls


def test_events_come_in_batches_in_which_each_member_stands_once() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Gossip("n1", local()))
            batches = one.events().coalesced(period_s=WITHIN_S, quiet_s=1.0)
            nodes = [Gossip(f"n{i}", local(), seeds=[str(one.address)]) for i in (2, 3)]

            async def next_batch() -> list[Any]:
                return await anext(batches)

            first_batch = asyncio.create_task(next_batch())
            await asyncio.sleep(0)
            for node in nodes:
                await stack.enter_async_context(node)
            await until(lambda: alive(one) == {"n2", "n3"})
            await nodes[0].leave()
            await until(lambda: alive(one) == {"n3"})
            batch = [event for event in await first_batch if isinstance(event, MemberJoined | MemberLeft)]
            assert [(type(event), event.member.name) for event in batch] == [(MemberJoined, "n3")]

    run(story())


def test_blocked_loop_is_measured_and_makes_the_node_doubt_itself() -> None:
    async def story() -> None:
        async with Gossip("n1", local()) as node:
            await until(lambda: node.loop_lag.quantile_s(1) > 0)
            time.sleep(0.6)  # noqa: ASYNC251 - the very thing that is to be noticed
            await until(lambda: node.counters.stalls > 0)
            assert node.view.health > 0
            assert node.loop_lag.quantile_s(1) >= 0.5

    run(story())


# Nodes that cannot join


def named(label: str) -> GossipConfig:
    return local(label=label)


@pytest.mark.parametrize(
    ("theirs", "mine", "said"),
    [
        pytest.param({"keys": [OLD]}, {"keys": [NEW]}, "does not have the key", id="another key"),
        pytest.param({"keys": [OLD]}, {}, "has no key", id="no key"),
        pytest.param({}, {"keys": [OLD]}, "it has no key, or", id="a key for a cluster that has none"),
        pytest.param({"config": named("a")}, {"config": named("b")}, "has another name", id="another name"),
        pytest.param(
            {"keys": [OLD], "config": named("a")},
            {"keys": [OLD], "config": named("b")},
            "or its cluster has another name",
            id="another name, sealed",
        ),
        pytest.param(
            {"config": GossipConfig(protocol=Span(2, 2))},
            {"config": GossipConfig(protocol=Span(1, 1))},
            "the other end speaks 2 of the protocol",
            id="another version",
        ),
        pytest.param(
            {"config": replace(local(), filters=FilterKind.EXACT)},
            {},
            "publish another kind of filter",
            id="another kind of filter",
        ),
        pytest.param(
            {"keys": [OLD]},
            {"keys": [OLD], "config": replace(local(), filters=FilterKind.EXACT)},
            "publish another kind of filter",
            id="another kind of filter, sealed",
        ),
    ],
)
def test_node_that_is_not_let_in_says_why(theirs: dict[str, Any], mine: dict[str, Any], said: str) -> None:
    async def story() -> None:
        settings = {"config": local()}
        async with Gossip("n1", **(settings | theirs)) as one:
            seed = str(one.address)
            async with Gossip("n2", seeds=[seed], **(settings | mine)) as two:
                await until(lambda: said in two.alone)
                assert two.alone.startswith(f"{seed}: ")
                assert one.alone == "", "it looks for nobody"

    run(story())


def test_node_says_in_the_log_that_it_is_alone_and_when_it_is_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attempts, "FIRST_S", 600.0)
    monkeypatch.setattr(attempts, "LOOK_S", 0.01)

    def logged(text: str) -> list[str]:
        return [record.getMessage() for record in caplog.records if text in record.getMessage()]

    async def story() -> None:
        async with Gossip("n1", local()) as one:
            address = one.address
        async with Gossip("n2", local(), seeds=[str(address), f"{chr(228) * 60}:7946"]) as two:
            await until(lambda: "Connection refused" in two.alone and "not resolved" in two.alone)
            monkeypatch.setattr(attempts, "FIRST_S", 0.0)
            await until(lambda: bool(logged("gossip is alone")))
            assert f"{address}: " in logged("gossip is alone")[-1]
            async with Gossip("n1", local(), listen=Listen(*address)):
                await until(lambda: two.alone == "" and bool(logged("not alone any more")))
            assert len(logged("gossip is alone")) == 1

    with caplog.at_level("INFO", "gossip.net.attempts"):
        run(story())


def test_node_whose_seed_says_nothing_is_alone_before_it_gives_that_up() -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, and that is all
            seed = f"127.0.0.1:{silent.getsockname()[1]}"
            async with Gossip("n1", local(), seeds=[seed]) as one:
                await until(lambda: one.alone == f"{seed}: it has not answered")
                assert not one.settled, "the attempt goes on"

    run(story())
