"""Progress: what a plan learns of its sources while they send, and what it tells the node of them."""

import pytest

from mirror.cluster.homes import MEBIBYTE
from mirror.cluster.throughput import Throughput
from mirror.fetch.plan.flight import Flight
from mirror.fetch.plan.progress import Progress
from mirror.settings import ClusterSettings, PlanSettings
from mirror.sources import UPSTREAM, Role


class Cluster:
    """Homes that send pieces, of several blobs, to this node."""

    def __init__(self) -> None:
        self.throughput = Throughput()
        self.progress = Progress(self.throughput, PlanSettings())
        self.now = 0.0

    def ask(self, source: str) -> Flight:
        flight = Flight(source, Role.HOME, 0, MEBIBYTE, self.now)
        self.progress.launched(flight)
        flight.origin, flight.first_at = UPSTREAM, self.now
        return flight

    def come(self, flight: Flight, count: int) -> None:
        self.progress.arrived(flight, flight.position + count, self.now)
        flight.position += count
        if flight.position == flight.stop:
            self.progress.landed(flight, self.now)
            self.progress.ended(flight, self.now)


@pytest.mark.parametrize(("at_once", "is_slow"), [(8, False), (1, True)])
def test_a_home_is_as_fast_as_all_that_it_sends_at_once(at_once: int, *, is_slow: bool) -> None:
    """Each piece of one that is asked for eight at once is eight times as slow as one that comes alone."""
    cluster, settings = Cluster(), ClusterSettings()
    for _ in range(settings.samples_min):
        many = [cluster.ask("a") for _ in range(at_once)]
        for _ in range(8):
            single = [cluster.ask(name) for name in ("b", "c")]
            cluster.now += 1.0
            for flight in many:
                cluster.come(flight, MEBIBYTE // 8)
            for flight in single:
                cluster.come(flight, MEBIBYTE)
    rate = cluster.throughput.relative_rate("a", ["a", "b", "c"], cluster.now)
    assert rate is not None
    assert (rate < settings.slow_rate) == is_slow


def test_what_came_before_a_request_does_not_make_its_source_fast() -> None:
    cluster = Cluster()
    for _ in range(3):
        before = [cluster.ask(name) for name in ("a", "b", "c")]
        cluster.now += 1.0
        for flight in before:
            cluster.come(flight, MEBIBYTE)
    slow = cluster.ask("a")
    for _ in range(10):
        single = [cluster.ask(name) for name in ("b", "c")]
        cluster.now += 1.0
        for flight in single:
            cluster.come(flight, MEBIBYTE)
    cluster.come(slow, MEBIBYTE)
    rate = cluster.throughput.relative_rate("a", ["a", "b", "c"], cluster.now)
    assert rate == pytest.approx(0.7 + 0.3 * 0.1), "the newest sample has its weight, and is of that request alone"
