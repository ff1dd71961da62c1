"""Settings of the mirror that no operator has to touch: timings, bounds, windows.

One frozen value, built by the agent and handed to the parts, a section for each package. Each field says what it
bounds, its unit, and why it has this value. Tests pass their own. What operators set is in `config`.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Of `sources.peers`."""


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Of `sources.upstream`."""

    connect_s: float = 5.0
    """Bounds one TCP connection with its TLS handshake, s. A server that is up answers within three round trips."""
    head_s: float = 30.0
    """Bounds the time from sending a request to the head of its answer, s, the wait for a free connection included.
    Registries that fetch from elsewhere, or wake storage up, take seconds."""
    stall_s: float = 20.0
    """Bounds the time between two reads of a body, s. A line that was lost and came back resumes within it (TCP
    retransmits at growing distances); what is dead longer is asked for anew, by range."""
    whole_s: float = 30.0
    """Bounds reading a whole body into memory, s: a token, or a manifest of unknown length, so a few megabytes."""
    connections_max: int = 64
    """Bounds open connections to all registries together. A request beyond it waits, within `head_s`. A node brings at
    most 32 pieces of a blob at once, so this serves several blobs."""
    redirects_max: int = 5
    """Bounds redirects of one request. Registries send to an object store at once or over one more host; the limit
    ends loops."""
    read_buffer_bytes: int = 256 * 1024
    """Bounds what aiohttp buffers of one body before it stops reading: about what a read of a fast line brings."""

    gather_bytes: int = 128 * 1024
    """Size of a chunk at and above which a body is written at once. Below it each write and each wake-up of readers
    would cost more than the bytes are worth."""
    gather_min_s: float = 0.02
    """Shortest time for which small chunks are gathered, s: what readers do not notice."""
    gather_max_s: float = 0.3
    """Longest time for which small chunks are gathered, s: bounds the delay that a slow line adds."""

    token_bytes_max: int = 64 * 1024
    """Bounds a token service's answer. Real ones have a few KiB."""
    token_min_s: float = 60.0
    """Shortest life that a token is given, s, and the life of one whose answer does not say. It is the least that the
    token specification lets a server grant."""
    token_max_s: float = 3600.0
    """Longest life that a token is given, s, whatever the server says: a permission that was taken away shows within
    the hour."""
    token_margin_s: float = 30.0
    """Time before its end from which on a token is not used, s: requests take time, and clocks differ."""
    basic_s: float = 3600.0
    """Life of a Basic authorization, s: after it the registry is asked again whether it wants one."""
    authorizations_max: int = 1024
    """Bounds remembered authorizations; the least recently used goes first. Each repository has one, of a few KiB."""

    retry_after_min_s: float = 1.0
    """Shortest time for which a registry that answered 429 is left alone, s, also if it says less."""
    retry_after_max_s: float = 3600.0
    """Longest time for which a registry that answered 429 is left alone, s, also if it says more: an error of its
    clock must not cut it off for days."""
    retry_after_default_s: float = 60.0
    """Time for which a registry is left alone that answers 429 without a readable Retry-After, s."""

    redirect_s: float = 60.0
    """Time for which a redirect is used again without asking the registry, s. The signed URLs of object stores are
    good for some minutes at least."""
    redirects_cached_max: int = 256
    """Bounds remembered redirects; the oldest goes first. Each is a URL of one or two kilobytes."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Of `stores.cache`."""


@dataclass(frozen=True, slots=True)
class ContainerdSettings:
    """Of `stores.containerd`."""

    start_patience_s: float = 2.0
    """Time that the start of the store waits for containerd's first listing, s, so that an agent begins with what is
    there. It goes on without it then: containerd may start later than the agent."""
    backoff_min_s: float = 0.1
    """Shortest time between two attempts to connect, s: nobody should notice a quick restart of containerd."""
    backoff_max_s: float = 5.0
    """Longest time between two attempts to connect, s. The waits double up to it. A connection that lasted longer
    begins again with the shortest."""
    call_timeout_s: float = 20.0
    """Bounds one call, s, the stream of events excepted. Long enough to list a large store on a slow disk."""
    answer_bytes_max: int = 16 * 1024 * 1024
    """Bounds one message of containerd. It is the bound of containerd's own clients; the list of images comes in
    one message."""

    settle_s: float = 0.05
    """Time from the first event of a burst to the listing, s: an import sends dozens of events within it."""
    spacing_s: float = 1.0
    """Shortest time between the starts of two listings, s: bounds what listings cost while events never end."""
    collect_s: float = 2.0
    """Time from the last event to one more listing, s. containerd collects garbage soon after an image is removed, and
    old versions send no event for it. What it collects later, the regular listing sees."""
    regardless_s: float = 30.0
    """Longest time between the starts of two listings, s. containerd before 2.1 does not tell when content appears or
    is collected; lookups of what is gone cost one fast 404 until then."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Of `cluster`."""


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Of `fetch.spool`."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Of `fetch.plan`."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Of `fetch`."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Of `images`."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """Of `app`."""


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Of `cluster.serving`."""

    interval_s: float = 0.25
    """Time between two decisions, s. A slow home holds every pull up, so it should stop within a second; a decision
    costs microseconds."""
    decline_s: float = 300.0
    """Time for which a node that the others find slow is no home, s. Then it tries again: what slowed it down, such as
    a backup, may be over, and a node that is still slow is found out within seconds."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Of `app.server`, for each of the two listeners."""

    drain_s: int = 20
    """Bounds the time that running transfers have to end when the agent stops, s. Then they are cut short, and clients
    go on elsewhere. Long enough for a large layer on a LAN; systemd kills the agent after 30 s (deploy/systemd)."""
    connections_max: int = 4096
    """Bounds connections, and requests that are answered at once. A hundred members with their transfers stay far
    below it; what is above it is answered 503."""
    keep_alive_s: int = 60
    """Time after which an idle connection is closed, s. Longer than a runtime pauses between two layers."""
    stall_timeout_s: float = 60.0
    """Time after which the connection of a client that takes nothing is closed, s. A runtime that writes a layer to a
    slow disk pauses for seconds; a client that is gone without a word would hold a descriptor for hours."""
    backlog: int = 1024
    """Bounds connections that wait to be accepted. All members may connect in the same moment; the kernel has its own
    bound besides (net.core.somaxconn)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them."""

    peers: PeerSettings = field(default_factory=PeerSettings)
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    containerd: ContainerdSettings = field(default_factory=ContainerdSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    plan: PlanSettings = field(default_factory=PlanSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    app: AppSettings = field(default_factory=AppSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
