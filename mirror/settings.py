"""Settings of the mirror that no operator has to touch: timings, bounds, windows.

One frozen value, built by the agent and handed to the parts, a section for each package. Each field says what it
bounds, its unit, and why it has this value. Tests pass their own. What operators set is in `config`.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Of `sources.peers`."""

    connect_s: float = 2.0
    """Bounds how long a connection to a member takes to open, s. A cluster's network answers within milliseconds; this
    is one lost SYN and its first retransmission after 1 s, with a second to spare."""

    head_s: float = 10.0
    """Bounds a small question (a size, a tag) from its first byte to the end of its answer, s. A home may ask upstream
    before it answers; a container runtime gives up on a registry's head later than this."""

    silent_s: float = 0.8
    """A member that has sent nothing of an answer for this time, s, is asked for a sign of life. With `sign_of_life_s`
    it keeps the promise that a dead member costs a piece at most 2 s; members that wait for upstream are silent often,
    so a shorter time would ask most of them."""

    sign_of_life_s: float = 1.0
    """Bounds how long a member takes to give a sign of life when it is asked for one, s. A busy event loop is late by
    some 100 ms at worst, so a member that takes longer is taken for dead."""

    stall_s: float = 30.0
    """Bounds the time in which a download receives no byte, s, although its member gives signs of life. It is longer
    than upstream needs for the first byte of a piece, and ends every request for certain."""

    watch_interval_s: float = 0.2
    """Time between two looks at all downloads, s: by this much a silent member is noticed late at most."""

    read_s: float = 60.0
    """Bounds one wait of a thread for a member's bytes, s. It is the last resort: `silent_s` and `stall_s` end a
    download much sooner, unless the task that watches over them has failed."""

    direct_threads: int = 64
    """Bounds the downloads at once from members that send what they hold: more than several fetches ask for at once.
    Threads start when they are needed."""

    waiting_threads: int = 96
    """Bounds the downloads at once from members that may wait for another node's download themselves. They have threads
    of their own: if they took those of `direct_threads`, nodes could wait for each other in a circle."""

    idle_connections_max: int = 16
    """Bounds the unused connections that are kept open to one member: as many as a fetch commonly has under way."""

    idle_connection_s: float = 20.0
    """Bounds how long an unused connection is kept open, s. A member's server closes it after 60 s; a much shorter time
    opens new ones between two layers of an image."""

    question_connections_max: int = 512
    """Bounds the connections at once for small questions, to all members: several to each of 100 members."""

    question_idle_s: float = 30.0
    """Bounds how long an unused connection for small questions is kept open, s: less than the 60 s after which a
    member's server closes it."""

    read_bytes: int = 1024 * 1024
    """Bounds what is read from a connection in one go, in bytes: twice what one read waits for. More gains nothing, and
    is memory for every thread."""

    read_min_bytes: int = 64 * 1024
    """The least space that one read offers, in bytes: what a kernel commonly has ready of a fast connection."""

    gather_s: float = 0.05
    """Bytes of a slow download are collected for this time at least, s, before they are read: each read wakes a thread,
    writes to a file and wakes readers, so it should not happen for every packet."""

    gather_max_s: float = 0.5
    """Bounds how long a byte waits for others to be collected with, s: readers must not notice."""

    gather_parts: int = 8
    """A download is read in about this many parts, if each takes between `gather_s` and `gather_max_s`: few reads,
    while readers still see progress."""

    head_max_bytes: int = 16 * 1024
    """Bounds the head of an answer, in bytes: a member's own heads have a few hundred."""

    drained_max_bytes: int = 16 * 1024
    """Bounds the body of a refusal that is read so that the connection can be used again, in bytes. A new connection
    costs less than to read more."""


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

    admission_window_s: float = 1.0
    """A member that asked for a blob counts as wanting it for this time, s. A member that downloads asks again within a
    few 100 ms, for it takes one piece after the other."""

    transfers_max: int = 256
    """Bounds the blobs that are sent to other members at once. A member that asks for one more is told to ask
    elsewhere. Each transfer holds descriptors and memory of sockets, and 256 saturate any link."""

    small_blob_bytes: int = 4 * 1024 * 1024
    """Blobs up to this size, in bytes, are sent to every member that asks: one piece, for which the detour by a home
    takes longer than the blob itself."""

    admission_blobs_max: int = 1024
    """Bounds the blobs of which it is remembered who asked; the one asked for longest ago is forgotten first. More than
    members ask for within `admission_window_s`."""

    avoided_max: int = 16
    """Bounds the members that a home avoids for one request: each costs a look at all parts of the blob."""

    copied_max_bytes: int = 128 * 1024
    """Parts of an answer up to this size, in bytes, are copied through the server. The copy leaves in one packet with
    the head, which is cheaper than to hand the connection over for `sendfile`."""

    chunk_bytes: int = 1024 * 1024
    """Bounds what is read of a file at once, in bytes, where an answer is copied: memory for each answer under way."""


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
