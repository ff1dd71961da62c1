"""Every metric of the mirror, declared once. Labels come from closed sets: no digest, repository or member."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300)


class Metrics:
    """The metrics of one agent, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mirror_requests",
            "Requests for manifests and blobs, by endpoint (client, peer), kind (manifests, blobs, tags) and outcome "
            "(held: from this node; fetched; passed: streamed without being kept; missing; refused; failed).",
            ["endpoint", "kind", "outcome"],
            registry=self.registry,
        )
        self.received_bytes = Counter(
            "mirror_received_bytes", "Content received, by source (peer, upstream).", ["source"], registry=self.registry
        )
        self.served_bytes = Counter(
            "mirror_served_bytes", "Content sent, by endpoint (client, peer).", ["endpoint"], registry=self.registry
        )
        self.fetches = Counter(
            "mirror_fetches",
            "Fetches ended, by outcome (complete, failed, abandoned).",
            ["outcome"],
            registry=self.registry,
        )
        self.fetch_seconds = Histogram(
            "mirror_fetch_seconds", "Time of complete fetches.", buckets=_SECONDS, registry=self.registry
        )
        self.source_failures = Counter(
            "mirror_source_failures",
            "Requests that a source failed, by source (peer, upstream) and reason.",
            ["source", "reason"],
            registry=self.registry,
        )
        self.lies = Counter("mirror_lies", "Times that a peer was caught sending wrong bytes.", registry=self.registry)
        self.cache_bytes = Gauge(
            "mirror_cache_bytes", "Bytes in the cache, arriving ones included.", registry=self.registry
        )
        self.holdings = Gauge("mirror_holdings", "Keys that this node can serve.", registry=self.registry)
        self.members = Gauge("gossip_members", "Members known, by state.", ["state"], registry=self.registry)
        self.loop_lag = Gauge(
            "mirror_loop_lag_seconds",
            "The longest stall of the event loop in the last ten seconds.",
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
