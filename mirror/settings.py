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

    tags_max: int = 10_000
    """Bounds the tags that are remembered; the least recently checked is forgotten first. Each takes one small file
    on disk and some 500 bytes of memory: 5 MB in all, for more tags than a cluster's nodes run."""

    touch_interval_s: float = 60.0
    """Seconds between two writes of a blob's time of last use. The time on disk only decides the order of eviction
    after a restart: a minute is exact enough, and spares a busy blob a write for every request."""


@dataclass(frozen=True, slots=True)
class ContainerdSettings:
    """Of `stores.containerd`."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Of `cluster`."""


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Of `fetch.spool`."""

    window_bytes: int = 32 * 1024 * 1024
    """Bounds what one blob holds in memory, in bytes, where the cache has no space for it. Enough for 32 pieces in
    flight of a blob up to 256 MiB; 32 such blobs at once take 1 GiB."""

    window_pieces: int = 8
    """The same bound in pieces, for blobs whose pieces are large: the larger of the two holds. With fewer, the hash, a
    reader and what arrives ahead of them would not find space for a piece each."""

    hash_step_bytes: int = 4 * 1024 * 1024
    """Bytes that must have arrived before a thread hashes them, up to twice as many at a time. A turn of a thread costs
    some 0.1 ms, hashing 4 MiB some 2 to 10 ms."""

    memory_hash_step_bytes: int = 1024 * 1024
    """The same for a blob in memory: less, since readers may wait until the hash has moved on."""

    hash_read_bytes: int = 1024 * 1024
    """Bounds the buffer, in bytes, through which a thread reads what it hashes: within a core's second-level cache."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Of `fetch.plan`."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Of `fetch`."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Of `images`."""

    manifest_memory_bytes: int = 8 * 1024 * 1024
    """Bounds the manifests that stay in memory, in bytes; the least recently used goes first. A manifest has 1 to 10
    KiB: this is about a thousand of them, more than a node runs."""


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
