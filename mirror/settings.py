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


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Of `stores.cache`."""


@dataclass(frozen=True, slots=True)
class ContainerdSettings:
    """Of `stores.containerd`."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Of `cluster`: what is known of members, and for how long it holds."""

    view_s: float = 0.05
    """Age up to which the answer to "who is up" is used again, s: every step of every fetch asks."""
    probe_s: float = 0.5
    """Time between two questions to a member that is out of reach whether it is alive, s."""
    out_of_reach_max_s: float = 30.0
    """Time after which a member that gave no sign of life is tried like all others, s: gossip has judged it by then."""
    corrupt_ban_s: float = 600.0
    """Time for which a member that sent corrupt bytes is not asked, s: its disk or memory will not heal sooner."""
    slow_notice_s: float = 0.5
    """Time between two rounds of notices to slow homes, s: a few of them make a home decline, within some seconds."""


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Of `fetch.spool`."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Of `fetch.plan`: how the pieces of one blob are asked for."""

    holder_lanes: int = 2
    """Requests under way at once to one holder: one arrives while the next is being asked for."""
    home_lanes: int = 4
    """Requests under way at once to one home: the ring gives each home about one in a window, and some move on."""
    upstream_lanes: int = 8
    """Requests under way at once to upstream for one blob; most are made for other members, one for each piece."""
    window_min: int = 4
    """Pieces asked for at once, at least: two nodes with one piece each under way would wait for every answer."""
    window_max: int = 32
    """Pieces asked for at once, at most. With n members, n of them keep every home busy; beyond 32 nothing is gained."""
    look_s: float = 0.2
    """Time between two looks for late requests, s: each costs a pass over all requests of the fetch."""
    upstream_tries: int = 3
    """Failures of upstream in a row, without a byte in between, after which the fetch asks it no more; 0: never ask."""
    busy_s: float = 2.0
    """Time for which a holder that said that it is busy is asked only on behalf of other members, s."""
    unable_s: float = 5.0
    """Time for which a home that could not fetch a piece counts as unable, s: as long as one try of upstream takes."""
    unable_max: int = 2
    """Homes that are unable at once, after which this node asks upstream itself instead of one home after the other."""
    trickle_after_s: float = 10.0
    """Age of a request to a holder, s, from which its rate is judged by itself: a lone holder has none beside it."""
    trickle_bytes_per_s: float = 64 * 1024
    """Rate under which a holder trickles: a 100 MB layer would take 26 minutes."""
    trickle_ban_s: float = 60.0
    """Time for which a holder that trickles is not asked while upstream can be, s."""
    late_s: float = 1.0
    """Age before which no request is late, s: under load, shorter delays say nothing."""
    late_factor: float = 3.0
    """A request is late if its like come so many times as fast; a smaller factor costs bytes twice for nothing."""
    late_factor_at_end: float = 2.0
    """The same where nothing else is left to ask for: then a second copy costs idle links only."""
    late_grace: float = 1.5
    """A request is not late before it had so many times the time that its like take for as many bytes."""
    very_late_factor: float = 2.0
    """A piece that is late by so many times as much is fetched by another home, at the cost of its bytes once more."""
    partial_tries: int = 3
    """Members asked whether they have a late piece already, before another home is to fetch it."""
    measured_bytes: int = 256 * 1024
    """Requests for fewer bytes say nothing about a member's throughput: asking takes longer than sending."""
    rates_remembered: int = 16
    """Finished requests by which those under way are judged, for each role: a window's worth."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Of `fetch`."""

    idle_s: float = 30.0
    """Time for which a fetch without readers goes on, s: a client that lost its connection comes back."""
    in_memory_max: int = 32
    """Blobs that pass through memory at once, where the cache has no space; each holds a window of 32 MiB or more."""
    short_replies_max: int = 8
    """Replies in a row by which one source sends less than it was asked for. A home may do so where the rest is another
    member's word, but that happens once a piece at most."""
    names_max: int = 8
    """Repositories by which one blob is asked of upstream, one after the other; clients name about as many."""
    look_s: float = 0.25
    """Time after which the plan is asked again though nothing happened, and holders are looked up anew, s."""
    patience_s: float = 20.0
    """Time for which a fetch waits without any request under way, for members that may be back, s."""
    notice_s: float = 0.004
    """Time between two reports of a worker thread about what it received, s: each wakes the readers."""
    records_max: int = 512
    """Records of fetches kept for people; some 1 KiB each."""
    size_s: float = 5.0
    """Time for which members are asked for a size, s, before upstream is: a client waits for a mere head."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Of `images`."""

    tag_fresh_s: float = 60.0
    """Time for which upstream's word about a tag is believed without asking again, s: a tag that was pushed a moment
    ago may be seen late by that much, and a cluster asks for one tag once in that time."""
    registry_down_s: float = 15.0
    """Time for which a registry that could not be reached is not asked about tags, s: its timeout is not paid by every
    pull."""
    tag_members_max: int = 8
    """Members asked about one tag, at most: they are asked at the same moment."""
    tag_homes_max: int = 3
    """Homes asked about one tag, at most, one after the other, before this node asks upstream itself."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """Of `app`."""


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
