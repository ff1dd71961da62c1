"""Every metric, declared once. Labels come from closed sets: no digest, repository or member."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300)


class Metrics:
    """The metrics of one agent, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.requests = counter(
            "mirror_requests",
            "Requests for manifests and blobs, by endpoint (client, peer), kind (manifests, blobs, tags) and outcome "
            "(held: served from this node; fetched: from elsewhere; passed: from elsewhere through memory, not kept; "
            "relayed: fetched for another member, as its home; vouched: another member was told checksums of a copy; "
            "missing; refused; failed).",
            ["endpoint", "kind", "outcome"],
        )
        self.received_bytes = counter(
            "mirror_received_bytes", "Content received, by source (peer, upstream).", ["source"]
        )
        self.served_bytes = counter("mirror_served_bytes", "Content sent, by endpoint (client, peer).", ["endpoint"])
        self.fetches = counter(
            "mirror_fetches",
            "Fetches that ended, by outcome (complete; relayed: only other members asked for parts of it; failed; "
            "abandoned).",
            ["outcome"],
        )
        self.fetch_seconds = Histogram(
            "mirror_fetch_seconds", "Duration of complete fetches.", buckets=_SECONDS, registry=registry
        )
        self.source_failures = counter(
            "mirror_source_failures",
            "Requests that a source did not fulfil, by source (peer, upstream) and reason.",
            ["source", "reason"],
        )
        self.corrupt_peers = counter(
            "mirror_corrupt_peers", "Times that a member was proven to have sent corrupt bytes."
        )
        self.tag_contradictions = counter(
            "mirror_tag_contradictions",
            "Times that a member said of a tag, twice, what upstream did not say to this node.",
        )
        self.damaged_blobs = counter(
            "mirror_damaged_blobs",
            "Blobs of this node whose files were found damaged, by store (cache: dropped; containerd: not served).",
            ["store"],
        )
        self.cache_bytes = gauge(
            "mirror_cache_bytes", "Bytes in the cache, including those of blobs that still arrive."
        )
        self.holdings = gauge("mirror_holdings", "Keys that this node can serve.")
        self.connections = gauge(
            "mirror_connections",
            "Connections to this node's endpoints, by kind (local; member: from the address of one; stranger).",
            ["kind"],
        )
        self.connections_refused = counter(
            "mirror_connections_refused", "Connections that were refused for want of a place, by kind.", ["kind"]
        )
        self.connections_shed = counter(
            "mirror_connections_shed", "Idle connections that were closed to make place for others, by kind.", ["kind"]
        )
        self.members = gauge("gossip_members", "Members known, by state.", ["state"])
        ProcessCollector(registry=registry)

    def watch_gossip(self, figures: "Callable[[], Figures]") -> None:
        """Show what gossip counts, too."""
        self.registry.register(_GossipCollector(figures))


class Figures(Protocol):
    """What gossip counts, and some of its present state."""

    @property
    def datagrams(self) -> Mapping[str, int]:
        """Datagrams, by direction."""
        ...

    @property
    def bytes(self) -> Mapping[str, int]:
        """Bytes of datagrams, by direction."""
        ...

    @property
    def rejected(self) -> Mapping[str, int]:
        """What was received and dropped, by reason."""
        ...

    @property
    def events(self) -> Mapping[str, int]:
        """What happened, by the name of the event."""
        ...

    @property
    def errors(self) -> Mapping[str, int]:
        """What went wrong on this node, by kind."""
        ...

    @property
    def streams(self) -> int:
        """Conversations over TCP."""
        ...

    @property
    def stalls(self) -> int:
        """Times that the event loop ran late."""
        ...

    @property
    def health(self) -> int:
        """The local health score of Lifeguard; 0 is healthy, a node that runs late or misses answers has more."""
        ...

    @property
    def waiting(self) -> int:
        """Rumours that wait to be sent."""
        ...

    @property
    def candidates(self) -> int:
        """Those who were heard of and have yet to answer, before they are members."""
        ...

    @property
    def blanks(self) -> int:
        """Members whose filters are not kept for want of memory."""
        ...

    @property
    def lag_s(self) -> Mapping[float, float]:
        """How late the event loop ran, by quantile."""
        ...


_GOSSIP_COUNTERS: Final[tuple[tuple[str, str, str, Callable[[Figures], Mapping[str, int]]], ...]] = (
    ("gossip_datagrams", "Datagrams, by direction (sent, received).", "direction", lambda it: it.datagrams),
    ("gossip_bytes", "Bytes of datagrams, by direction (sent, received).", "direction", lambda it: it.bytes),
    ("gossip_rejected", "What was received and dropped, by reason.", "reason", lambda it: it.rejected),
    ("gossip_events", "What happened to members and to this node, by event.", "event", lambda it: it.events),
    ("gossip_errors", "What went wrong on this node, by kind.", "kind", lambda it: it.errors),
)


class _GossipCollector(Collector):
    """Turns gossip's own counters into metrics when somebody asks for them."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        figures = self._figures()
        for name, text, label, counts in _GOSSIP_COUNTERS:
            family = CounterMetricFamily(name, text, labels=[label])
            for value, total in counts(figures).items():
                family.add_metric([value], total)
            yield family
        yield CounterMetricFamily("gossip_streams", "Conversations over TCP.", value=figures.streams)
        stalls = "Times that the event loop ran late by 0.25 s or more."
        yield CounterMetricFamily("gossip_stalls", stalls, value=figures.stalls)
        health = "Local health score of this node (Lifeguard); 0: healthy, more: it runs late or misses answers."
        yield GaugeMetricFamily("gossip_health", health, value=figures.health)
        yield GaugeMetricFamily("gossip_rumours", "Rumours that wait to be sent.", value=figures.waiting)
        candidates = "Those who were heard of and have yet to answer, before they are members."
        yield GaugeMetricFamily("gossip_candidates", candidates, value=figures.candidates)
        blanks = "Members whose filters are not kept for want of memory: lookups do not find them."
        yield GaugeMetricFamily("gossip_blank_filters", blanks, value=figures.blanks)
        lag = GaugeMetricFamily(
            "gossip_loop_lag_seconds", "How late the event loop ran in the last minute.", labels=["quantile"]
        )
        for quantile, late_s in figures.lag_s.items():
            lag.add_metric([f"{quantile:g}"], late_s)
        yield lag
