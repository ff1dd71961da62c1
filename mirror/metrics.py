"""Every metric, declared once, with all its series from the start: one that appears late hides its first step.

Labels come from closed sets: no digest, repository or member. A registry is a label where it is one of those that the
agent may contact.

Source: Prometheus documentation, "Metric and label naming"; `promtool check metrics` finds nothing.
"""

import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Final, Literal, Protocol, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from . import __version__
from .errors import Reason

disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge for each counter, which nobody reads

Instrument = TypeVar("Instrument", Counter, Gauge)

PREFIX: Final = "skvaller_"
_GOSSIP: Final = PREFIX + "gossip_"
_SECONDS: Final = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300)
_CODES: Final = ("200", "206", "401", "403", "404", "429", "500", "502", "503")
"""Statuses whose counters are there before a registry has answered."""
_OTHER: Final = "other"
"""Stands for every registry that the agent may not contact, and for every status that is none."""
_STORES: Final = ("cache", "containerd")
_KINDS: Final = ("local", "member", "stranger")
_REASONS: Final = tuple(reason.value.replace("-", "_") for reason in Reason)


@dataclass(frozen=True, slots=True)
class _Family:
    """A metric: what it says, its labels, and the values of the labels that are known from the start."""

    text: str
    labels: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def by(cls, text: str, **labels: Iterable[str]) -> "_Family":
        """One whose labels have every combination of some values."""
        return cls(text, tuple(labels), tuple(product(*labels.values())))


_COUNTERS: Final[Mapping[str, _Family]] = {
    "requests": _Family(
        "Requests to the registry API, by endpoint (client, peer), kind (manifests, blobs, tags, lists, pushes, other) "
        "and outcome (held: served from this node; fetched: from elsewhere; passed: from elsewhere through memory, not "
        "kept; relayed: fetched for another member, as its home; vouched: another member was told checksums of a copy; "
        "missing; refused; failed; of pushes, pushed: done; left: the client broke off).",
        ("endpoint", "kind", "outcome"),
        (
            *product(
                ["client"],
                ["manifests", "blobs", "lists", "other"],
                ["held", "fetched", "missing", "refused", "failed"],
            ),
            ("client", "blobs", "passed"),
            *product(["client"], ["pushes"], ["pushed", "left", "refused", "failed"]),
            *product(["peer"], ["manifests", "blobs", "tags", "lists", "other"], ["held", "missing", "refused"]),
            *product(["peer"], ["blobs"], ["relayed", "vouched"]),
        ),
    ),
    "received_bytes": _Family.by("Content received, by source (peer, upstream).", source=("peer", "upstream")),
    "pushed_bytes": _Family("Content that clients pushed to this node, and that became blobs here."),
    "served_bytes": _Family.by("Content sent, by endpoint (client, peer).", endpoint=("client", "peer")),
    "fetches": _Family.by(
        "Fetches that ended, by outcome (complete; relayed: only other members asked for parts of it; failed; "
        "abandoned).",
        outcome=("complete", "relayed", "failed", "abandoned"),
    ),
    "source_failures": _Family.by(
        "Requests for content that a source did not fulfil, by source (peer, upstream) and reason.",
        source=("peer", "upstream"),
        reason=_REASONS,
    ),
    "upstream_answers": _Family(
        "Answers of registries, for tags and content, by registry and status; the last one, after redirects and after "
        "a request for a password or token.",
        ("registry", "code"),
    ),
    "upstream_received_bytes": _Family("Content received from registries, by registry.", ("registry",)),
    "upstream_failures": _Family(
        "Requests to registries, for tags and content, that did not bring what was wanted, by registry and reason.",
        ("registry", "reason"),
    ),
    "private_requests": _Family.by(
        "Requests of clients for names that are not shared with all, by outcome (public: given; accepted: given, the "
        "credentials are good; login: asked for credentials; denied: these are not good; absent: the registry shows "
        "this client no such thing; unchecked: the registry does not say; apart: streamed through without being kept; "
        "withheld: private content, not given under a name that is not known to have it).",
        outcome=("public", "accepted", "login", "denied", "absent", "unchecked", "apart", "withheld"),
    ),
    "corrupt_peers": _Family("Times that a member was proven to have sent corrupt bytes."),
    "tag_contradictions": _Family("Times that a member said of a tag, twice, what upstream did not say to this node."),
    "damaged_blobs": _Family.by(
        "Blobs of this node whose files were found damaged, by store (cache: dropped; containerd: not served).",
        store=_STORES,
    ),
    "cache_evictions": _Family("Complete blobs that left the cache to make room."),
    "connections_refused": _Family.by("Connections that were refused for want of a place, by kind.", kind=_KINDS),
    "connections_shed": _Family.by("Idle connections that were closed to make place for others, by kind.", kind=_KINDS),
}

_GAUGES: Final[Mapping[str, _Family]] = {
    "ready": _Family("1 if pulls can be served, as /readyz says; else 0."),
    "cache_bytes": _Family("Bytes in the cache, including those of blobs that still arrive."),
    "cache_limit_bytes": _Family("Bound on the bytes in the cache."),
    "cache_keeping": _Family("1 if the cache keeps what arrives; 0 if it keeps nothing now, see /readyz."),
    "cache_withheld": _Family.by(
        "Blobs in the cache that are not served, by reason (unproven: to be hashed first; unreadable: by the disk).",
        reason=("unproven", "unreadable"),
    ),
    "pinned_images": _Family.by(
        "Pinned images that this node is to keep, by state (whole; incomplete: parts are still to come; no_room: the "
        "cache is too small for them).",
        state=("whole", "incomplete", "no_room"),
    ),
    "upstream_pulls_left": _Family(
        "Requests that a registry still lets the members make, as it last said, by registry.", ("registry",)
    ),
    "upstream_pulls_limit": _Family("Of how many requests, by registry.", ("registry",)),
    "upstream_blocked_seconds": _Family(
        "For how long nobody asks a registry that answered 429, by registry; 0 if it may be asked.", ("registry",)
    ),
    "upstream_out": _Family("1 for a registry that does not answer this node, else 0.", ("registry",)),
    "holdings": _Family("Keys that this node can serve."),
    "connections": _Family.by(
        "Connections to this node's endpoints, by kind (local; member: from the address of one; stranger).",
        kind=_KINDS,
    ),
    "members": _Family.by("Members known, this node included, by state.", state=("alive", "suspect", "dead", "left")),
}


class Metrics:
    """The metrics of one agent, in a registry of their own.

    Args:
        registries: that the agent may contact. All others count as one.
        shown: those whose counters are there before they are asked.
    """

    def __init__(self, registries: Iterable[str] = (), shown: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self._registries = frozenset(registries)
        self.requests = self._counter("requests")
        self.received_bytes = self._counter("received_bytes")
        self.served_bytes = self._counter("served_bytes")
        self.fetches = self._counter("fetches")
        self.fetch_seconds = Histogram(
            PREFIX + "fetch_seconds", "Duration of complete fetches.", buckets=_SECONDS, registry=self.registry
        )
        self._source_failures = self._counter("source_failures")
        self._upstream_answers = self._counter("upstream_answers")
        self._upstream_received_bytes = self._counter("upstream_received_bytes")
        self._upstream_failures = self._counter("upstream_failures")
        self.private_requests = self._counter("private_requests")
        self.pushed_bytes = self._counter("pushed_bytes")
        self.corrupt_peers = self._counter("corrupt_peers")
        self.tag_contradictions = self._counter("tag_contradictions")
        self.damaged_blobs = self._counter("damaged_blobs")
        self.cache_evictions = self._counter("cache_evictions")
        self.connections_refused = self._counter("connections_refused")
        self.connections_shed = self._counter("connections_shed")
        self.ready = self._gauge("ready")
        self.cache_bytes = self._gauge("cache_bytes")
        self.cache_limit_bytes = self._gauge("cache_limit_bytes")
        self.cache_keeping = self._gauge("cache_keeping")
        self.cache_withheld = self._gauge("cache_withheld")
        self.pinned_images = self._gauge("pinned_images")
        self._pulls_left = self._gauge("upstream_pulls_left")
        self._pulls_limit = self._gauge("upstream_pulls_limit")
        self._blocked_s = self._gauge("upstream_blocked_seconds")
        self._upstream_out = self._gauge("upstream_out")
        self._shown_out: Set[str] = frozenset()
        self.holdings = self._gauge("holdings")
        self.connections = self._gauge("connections")
        self.members = self._gauge("members")
        build = Info(PREFIX + "build", "Which version runs, and on which Python.", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})
        ProcessCollector(registry=self.registry)
        for name in (*shown, _OTHER):
            self._upstream_received_bytes.labels(name)
            self._upstream_out.labels(name)
            for code in _CODES:
                self._upstream_answers.labels(name, code)
            for reason in _REASONS:
                self._upstream_failures.labels(name, reason)

    def _counter(self, name: str) -> Counter:
        family = _COUNTERS[name]
        return _with_series(Counter(PREFIX + name, family.text, family.labels, registry=self.registry), family)

    def _gauge(self, name: str) -> Gauge:
        family = _GAUGES[name]
        return _with_series(Gauge(PREFIX + name, family.text, family.labels, registry=self.registry), family)

    def watch_gossip(self, figures: "Callable[[], Figures]") -> None:
        """Show what gossip counts, too."""
        self.registry.register(_GossipCollector(figures))

    def watch_dht(self, figures: "Callable[[], DhtFigures]") -> None:
        """Show what the DHT counts, too."""
        self.registry.register(_DhtCollector(figures))

    def source_failed(self, source: Literal["peer", "upstream"], reason: Reason) -> None:
        """Count a request for content that a member, or upstream, did not fulfil."""
        self._source_failures.labels(source, _label(reason)).inc()

    def upstream_answered(self, registry: str, status: int) -> None:
        """Count the answer of a registry."""
        code = str(status) if 100 <= status < 600 else _OTHER
        self._upstream_answers.labels(self._bounded(registry), code).inc()

    def show_budgets(self, budgets: Mapping[str, tuple[int | None, int | None, float]]) -> None:
        """Show what registries let the members ask: what is left, of how many, and for how long nobody asks, s."""
        for gauge in (self._pulls_left, self._pulls_limit, self._blocked_s):
            gauge.clear()  # what a registry said once says nothing for ever
        for registry, (left, limit, wait_s) in budgets.items():
            name = self._bounded(registry)
            if left is not None:
                self._pulls_left.labels(name).set(left)
            if limit is not None:
                self._pulls_limit.labels(name).set(limit)
            self._blocked_s.labels(name).set(wait_s)

    def show_outages(self, registries: Iterable[str]) -> None:
        """Show which registries do not answer."""
        out = {self._bounded(registry) for registry in registries}
        for name in self._shown_out | out:
            self._upstream_out.labels(name).set(name in out)
        self._shown_out = out

    def upstream_sent(self, registry: str, count: int) -> None:
        """Count bytes of content that a registry sent."""
        self._upstream_received_bytes.labels(self._bounded(registry)).inc(count)

    def upstream_failed(self, registry: str, reason: Reason) -> None:
        """Count a request to a registry that did not bring what was wanted."""
        self._upstream_failures.labels(self._bounded(registry), _label(reason)).inc()

    def _bounded(self, registry: str) -> str:
        return registry if registry in self._registries else _OTHER


def _label(reason: Reason) -> str:
    """A reason as a label's value: in snake_case, as all of them."""
    return reason.value.replace("-", "_")


def _with_series(metric: Instrument, family: _Family) -> Instrument:
    """A metric with a series for all values of its labels that are known."""
    for values in family.known:
        metric.labels(*values)
    return metric


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
    def is_alone(self) -> bool:
        """Whether this node looks for others and reaches none."""
        ...

    @property
    def lag_s(self) -> Mapping[float, float]:
        """How late the event loop ran, by quantile."""
        ...


_GOSSIP_COUNTERS: Final[tuple[tuple[str, str, str, Callable[[Figures], Mapping[str, int]]], ...]] = (
    ("datagrams", "Datagrams, by direction (sent, received).", "direction", lambda it: it.datagrams),
    ("bytes", "Bytes of datagrams, by direction (sent, received).", "direction", lambda it: it.bytes),
    ("rejected", "What was received and dropped, by reason.", "reason", lambda it: it.rejected),
    ("events", "What happened to members and to this node, by event.", "event", lambda it: it.events),
    ("errors", "What went wrong on this node, by kind.", "kind", lambda it: it.errors),
)


class _GossipCollector(Collector):
    """Turns gossip's own counters into metrics when somebody asks for them."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        figures = self._figures()
        for name, text, label, counts in _GOSSIP_COUNTERS:
            family = CounterMetricFamily(_GOSSIP + name, text, labels=[label])
            for value, total in counts(figures).items():
                family.add_metric([_snake_case(value)], total)
            yield family
        yield CounterMetricFamily(_GOSSIP + "streams", "Conversations over TCP.", value=figures.streams)
        stalls = "Times that the event loop ran late by 0.25 s or more."
        yield CounterMetricFamily(_GOSSIP + "stalls", stalls, value=figures.stalls)
        health = "Local health score of this node (Lifeguard); 0: healthy, more: it runs late or misses answers."
        yield GaugeMetricFamily(_GOSSIP + "health", health, value=figures.health)
        yield GaugeMetricFamily(_GOSSIP + "rumours", "Rumours that wait to be sent.", value=figures.waiting)
        candidates = "Those who were heard of and have yet to answer, before they are members."
        yield GaugeMetricFamily(_GOSSIP + "candidates", candidates, value=figures.candidates)
        blanks = "Members whose filters are not kept for want of memory: lookups do not find them."
        yield GaugeMetricFamily(_GOSSIP + "blank_filters", blanks, value=figures.blanks)
        alone = "1 while this node looks for others and reaches none; else 0."
        yield GaugeMetricFamily(_GOSSIP + "alone", alone, value=figures.is_alone)
        text = "How late the event loop ran in the last minute, by percentile."
        lag = GaugeMetricFamily(PREFIX + "event_loop_lag_seconds", text, labels=["percentile"])
        for quantile, late_s in figures.lag_s.items():
            lag.add_metric([f"{100 * quantile:g}"], late_s)
        yield lag


class DhtFigures(Protocol):
    """What the DHT counts, and some of its present state."""

    @property
    def lookups(self) -> Mapping[str, int]:
        """Lookups, by how the wait for them ended."""
        ...

    @property
    def lookup_seconds(self) -> Mapping[float, int]:
        """Waits for lookups by the upper bound of their bucket, s, not cumulated; the last one is infinite."""
        ...

    @property
    def lookup_seconds_sum(self) -> float:
        """Of all waits, s."""
        ...

    @property
    def queries(self) -> Mapping[str, int]:
        """Questions to other nodes, by kind."""
        ...

    @property
    def told(self) -> Mapping[str, int]:
        """Keys that were told to those closest to them, by outcome."""
        ...

    @property
    def peers(self) -> int:
        """Peers in the routing table."""
        ...

    @property
    def records(self) -> int:
        """Provider records that are kept."""
        ...

    @property
    def waiting(self) -> int:
        """Keys that wait to be told."""
        ...


_DHT_COUNTERS: Final[tuple[tuple[str, str, str, Callable[[DhtFigures], Mapping[str, int]]], ...]] = (
    (
        "lookups",
        "Lookups, by outcome (local: a record of this node named a holder; found: another node did; missing: all were "
        "asked, and none did; late: nothing was known in time; refused: too many were under way).",
        "outcome",
        lambda it: it.lookups,
    ),
    ("queries", "Questions to other nodes, by kind (get_providers, add_provider).", "kind", lambda it: it.queries),
    (
        "told",
        "Keys that were told to the nodes closest to them, by outcome (taken, failed, over_bound).",
        "outcome",
        lambda it: it.told,
    ),
)


class _DhtCollector(Collector):
    """Turns the DHT's own counters into metrics when somebody asks for them."""

    def __init__(self, figures: Callable[[], DhtFigures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        figures, prefix = self._figures(), PREFIX + "dht_"
        for name, text, label, counts in _DHT_COUNTERS:
            family = CounterMetricFamily(prefix + name, text, labels=[label])
            for value, total in counts(figures).items():
                family.add_metric([value], total)
            yield family
        text = "Time from a lookup to its first holder, to its end, or to the end of the wait for it."
        totals = accumulate(figures.lookup_seconds.values())
        buckets = list(zip(map(floatToGoString, figures.lookup_seconds), totals, strict=True))
        yield HistogramMetricFamily(prefix + "lookup_seconds", text, buckets, figures.lookup_seconds_sum)
        yield GaugeMetricFamily(prefix + "peers", "Peers in the routing table.", value=figures.peers)
        yield GaugeMetricFamily(prefix + "records", "Provider records that this node keeps.", value=figures.records)
        yield GaugeMetricFamily(prefix + "waiting", "Keys that wait to be told.", value=figures.waiting)


def _snake_case(name: str) -> str:
    """The name of an event as a label's value."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
