"""What fetches see of the cluster."""

import asyncio
import math
from collections.abc import Awaitable, Collection, Sequence

import pytest

from mirror.cluster.health import PeerHealth
from mirror.cluster.view import ClusterView
from mirror.errors import PeerError, Reason
from mirror.metrics import Metrics
from mirror.oci.content import Content
from mirror.routers import MemberStatus, Peer, RingSeat, Serves
from mirror.settings import ClusterSettings
from mirror.sources import Life

KEY = bytes(32)
ME = "me"


def peer(name: str, port: int = 1) -> Peer:
    return Peer(name, "127.0.0.1", port)


class Chart:
    """A router of which a test says who is up, who holds everything and who declines to serve."""

    def __init__(self, *names: str) -> None:
        self.peers = [peer(name) for name in names]
        self.holders: list[Peer] = []
        self.declining: set[str] = set()
        self.gone: list[str] = []

    def ready(self) -> bool:
        return True

    def look_up(self, key: bytes) -> Awaitable[None] | None:
        return None

    def locate(self, key: bytes) -> Sequence[Peer]:
        return self.holders

    def advertise(self, keys: Collection[bytes]) -> None:
        raise AssertionError

    withdraw = advertise

    def members(self) -> Sequence[Peer]:
        return self.peers

    def seats(self) -> Sequence[RingSeat]:
        names = [ME, *(it.name for it in self.peers), *self.gone]
        return [RingSeat(peer(name), Serves.NO if name in self.declining else Serves.YES) for name in names]

    def set_serving(self, willing: bool) -> None:
        raise AssertionError

    def alone(self) -> str:
        return ""

    def statuses(self) -> Sequence[MemberStatus]:
        return []


async def never(peer: Peer) -> bool:
    await asyncio.Event().wait()
    return True


async def unheard(peer: Peer, content: Content, wrong: tuple[int, int]) -> None:
    await asyncio.Event().wait()


def made(chart: Chart, view_s: float = 0.0) -> tuple[ClusterView, PeerHealth]:
    health = PeerHealth(lambda name: None, never, unheard, Metrics(), later=lambda seconds, do: None)
    return ClusterView(ME, chart, chart, health, ClusterSettings(view_s=view_s)), health


def test_this_node_is_up_and_serves_and_banned_members_are_not() -> None:
    view, health = made(Chart("a", "b"))
    assert view.up() == {ME, "a", "b"}
    health.sent_corrupt("a", "a blob")
    assert view.up() == view.serving() == {ME, "b"}
    assert view.peer("a") == peer("a"), "it is a member all the same"
    assert view.peer("c") is None


def test_an_answer_is_used_again_until_health_changes() -> None:
    chart = Chart("a")
    view, health = made(chart, math.inf)
    assert view.up() == {ME, "a"}
    chart.peers.append(peer("b"))
    assert view.up() == {ME, "a"}
    health.sent_corrupt("c", "a blob")
    assert view.up() == {ME, "a", "b"}


def test_a_holder_that_was_not_seen_before_has_the_members_looked_up_anew() -> None:
    chart = Chart("a")
    view, _ = made(chart, math.inf)
    assert "b" not in view.up()
    chart.peers.append(peer("b"))
    chart.holders.append(peer("b"))
    assert view.holders(KEY) == [peer("b")]
    assert view.peer("b") == peer("b")


def test_holders_are_waited_for_where_the_router_has_to_ask() -> None:
    class Asking(Chart):
        def look_up(self, key: bytes) -> Awaitable[None] | None:
            async def asked() -> None:
                await asyncio.sleep(0)
                self.holders = [peer("a")]

            return None if self.holders else asked()

    async def story() -> None:
        view, _ = made(Asking("a"))
        assert await view.find_holders(KEY) == [peer("a")]
        assert view.look_up(KEY) is None

    asyncio.run(story())


def test_holders_that_the_router_knows_cost_no_turn_of_the_loop() -> None:
    chart = Chart("a")
    chart.holders = [peer("a")]
    view, _ = made(chart)
    with pytest.raises(StopIteration) as ended:
        view.find_holders(KEY).send(None)
    assert ended.value.value == [peer("a")]


def test_a_banned_member_is_no_holder() -> None:
    chart = Chart("a", "b")
    chart.holders = [peer("a"), peer("b")]
    view, health = made(chart)
    health.sent_corrupt("a", "a blob")
    assert view.holders(KEY) == [peer("b")]
    assert view.last_holders(KEY) == []


def test_a_holder_that_is_out_of_reach_is_one_to_wait_for_and_not_to_ask() -> None:
    chart = Chart("a", "b", "c")
    chart.holders = [peer("a"), peer("b"), peer("c")]

    async def story() -> None:
        view, health = made(chart)
        health.failed("a", PeerError(Reason.BROKEN, "it broke off"))
        health.failed("b", PeerError(Reason.STALLED, "it says nothing"))
        assert view.holders(KEY) == [peer("c")]
        assert view.last_holders(KEY) == [peer("a"), peer("b")]
        assert view.resting() == {"a"}
        await health.close()

    asyncio.run(story())


def test_a_node_is_alone_when_all_members_that_were_in_reach_are_so_no_more() -> None:
    assert not made(Chart())[0].is_alone()

    async def story() -> None:
        view, health = made(Chart("a", "b"))
        health.failed("a", PeerError(Reason.STALLED, "it says nothing"))
        assert not view.is_alone()
        health.noticed(peer("b"), Life.SILENT)
        assert view.is_alone()
        health.noticed(peer("b"), Life.ALIVE)
        assert not view.is_alone()
        await health.close()

    asyncio.run(story())


def test_who_declines_is_on_no_ring_and_is_asked_on_none() -> None:
    chart = Chart("a", "b")
    chart.declining = {"a"}
    view, _ = made(chart)
    assert set(view.ring(KEY).members) == {ME, "b"}
    assert view.serving() == {ME, "b"}
    assert view.known() == {ME, "a", "b"}


def test_a_ring_is_never_empty() -> None:
    chart = Chart("a")
    chart.declining = {ME, "a"}
    view, _ = made(chart)
    assert view.ring(KEY).members == (ME,)


def test_the_homes_before_this_node_and_those_after_it_are_all_others() -> None:
    chart = Chart("a", "b", "c", "d")
    view, _ = made(chart)
    before, after = view.homes(KEY), view.later_homes(KEY)
    order = list(view.ring(KEY).homes(0))
    assert [it.name for it in before] + [ME] + [it.name for it in after] == order


def test_a_member_that_failed_lately_is_still_known() -> None:
    chart = Chart("a")
    chart.gone = ["b"]
    view, _ = made(chart)
    assert view.known() == {ME, "a", "b"}
    assert "b" not in view.up()


def test_a_holder_that_is_back_at_another_address_is_asked_there_at_once() -> None:
    chart = Chart("a")
    view, _ = made(chart, math.inf)
    assert view.peer("a") == peer("a")
    chart.peers = chart.holders = [peer("a", 2)]
    assert view.holders(KEY) == [peer("a", 2)]
    assert view.peer("a") == peer("a", 2)


def test_a_holder_that_is_left_alone_for_a_while_is_the_last_resort_and_a_proven_liar_is_none() -> None:
    chart = Chart("a", "b", "c")
    chart.holders = [peer("a"), peer("b"), peer("c")]
    view, health = made(chart)
    health.failed("a", PeerError(Reason.BROKEN, "broke off"))
    health.doubt("b", "a blob")
    assert view.holders(KEY) == [peer("c")]
    health.sent_corrupt("c", "a blob")
    assert view.holders(KEY) == view.last_holders(KEY) == [peer("a"), peer("b")]
    health.sent_corrupt("a", "a blob")
    assert view.holders(KEY) == [peer("b")]
