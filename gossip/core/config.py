"""Every number of the protocol, with its meaning, unit, bounds and source.

A configuration is a frozen value that is passed whole. Nothing here names a node or a socket: those are arguments of
the node and of its driver. Nodes with different timings interoperate; `label` and `filters` must be equal within a
cluster.
"""

from dataclasses import dataclass, fields
from typing import Final

from .errors import ConfigError
from .membership.member import PROTOCOL, Span
from .messages import FilterKind
from .packets.allow import AllowList
from .packets.codec import BITS_LOG2_MAX, BITS_LOG2_MIN, ENTRIES_MAX

FILTER_BITS_PER_KEY_MAX: Final = 64
"""Bits per key of the largest filters that any node may have: it bounds the memory that others can claim here."""
_DIRECTORY_BYTES_PER_MEMBER_MIN: Final = 2048
"""Bytes of the directory for each member that there may be: half of them hold its version, whatever filters take."""
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "probe_interval_s": (0.01, 60),
    "probe_timeout_s": (0.005, 30),
    "indirect_probes": (0, 16),
    "suspicion_mult": (1, 32),
    "suspicion_max_mult": (1, 32),
    "awareness_max": (1, 32),
    "gossip_interval_s": (0.005, 10),
    "gossip_fanout": (1, 16),
    "gossip_to_dead_s": (0, 600),
    "retransmit_mult": (1, 16),
    "sync_interval_s": (0.1, 600),
    "heal_interval_s": (0.1, 600),
    "join_retry_s": (0.05, 60),
    "forget_after_s": (1, 7 * 86400),
    "members_max": (2, ENTRIES_MAX),
    "gone_max": (1, 65536),
    "flaps_max": (1, 100),
    "flap_within_s": (0, 3600),
    "flap_window_s": (1, 86400),
    "datagram_max_bytes": (1024, 8192),
    "batch_s": (0, 1),
    "direct_members_max": (0, 256),
    "log_keys": (0, 1 << 20),
    "snapshot_over_keys": (1, 1 << 20),
    "reconcile_interval_s": (0.01, 10),
    "filter_bits_per_key": (8, FILTER_BITS_PER_KEY_MAX),
    "filter_bits_log2_max": (BITS_LOG2_MIN, BITS_LOG2_MAX),
    "directory_max_bytes": (1 << 20, 1 << 40),
    "rebuild_share": (0.001, 1),
    "rebuild_quiet_s": (0.1, 86400),
    "rebuild_pause_s": (0, 3600),
    "stream_timeout_s": (0.1, 120),
    "greeting_timeout_s": (0.1, 120),
    "streams_max": (1, 1024),
    "resolve_alone_s": (0.05, 3600),
    "resolve_s": (0.05, 86_400),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipConfig:
    """Settings of one node; the defaults are those of `lan()`.

    Args:
        label: name of the cluster, at most 255 bytes of UTF-8; packets of other labels are dropped.
        allow: networks, such as `10.0.0.0/8`, from which packets and streams are accepted, and in which members'
            addresses must be; None for all.
        protocol: versions of the protocol spoken; the highest one is used that all live members understand.
        probe_interval_s: one member is probed per interval; the unit of all detection times. Source: SWIM section 3.1,
            memberlist.
        probe_timeout_s: how long a direct answer may take before others are asked; below the interval. Choose it
            above the 99th percentile of the round trip. Source: memberlist.
        indirect_probes: members asked to probe for us, SWIM's k. Source: memberlist.
        suspicion_mult: minimum suspicion time in units of log10(n) probe intervals. Source: memberlist.
        suspicion_max_mult: how many times longer an unconfirmed suspicion lasts. Source: Lifeguard section IV-B.
        awareness_max: a node that doubts itself probes up to this many times slower. Source: Lifeguard section IV-A.
        gossip_interval_s: time between rounds that carry rumours; the first round of a rumour goes at once.
        gossip_fanout: members per round. Simulated: 4 at 100 ms halves the delay of memberlist's 3 at 200 ms.
        gossip_to_dead_s: how long a dead member still gets rumours, so that it can refute. Source: memberlist.
        retransmit_mult: copies of a rumour per node, in units of log10(n). Source: SWIM section 4.1, memberlist.
        sync_interval_s: time between full exchanges over a stream, longer above 32 members. Source: memberlist.
        heal_interval_s: time between attempts to reach a dead member or a seed, so that partitions heal.
        join_retry_s: the same while no other member is known.
        forget_after_s: how long a dead member's address and filter are kept.
        members_max: bound of the member table, the dead included: ten times the clusters that this is made for.
        gone_max: dead and departed members that are kept; if more than that are live, as many as are live.
        flaps_max: returns from the dead, within the window, at which a member is left out of lookups.
        flap_within_s: a return counts if it comes this soon after the failure. Source: serf, flap timeout.
        flap_window_s: the window: how long a return counts.
        datagram_max_bytes: largest datagram sent or accepted; 1400 passes every Ethernet tunnel in use, and with 1024
            the longest name and metadata still fit.
        batch_s: additions within this time after one that was published share the next op.
        direct_members_max: in a cluster of up to this many members an op goes straight to everybody.
        log_keys: newest keys kept per member, to repair others without a snapshot; 8 bytes each.
        snapshot_over_keys: more additions at once than this become a new generation, which others fetch as a whole.
        reconcile_interval_s: least time between two comparisons of versions that this node begins.
        filters: what members publish of their keys: Bloom filters or, for comparison, the keys themselves. Packets of
            clusters that publish the other kind are dropped.
        filter_bits_per_key: filter bits per slot of capacity, a power of two; 16 gives 1 false positive in 2,000.
        filter_bits_log2_max: logarithm of the bits of the largest filter, this node's own included. 22 are 512 KiB, for
            174,000 keys, or 65,536 as they are; a cache of 100 GiB holds some 10,000.
        directory_max_bytes: bound of the memory of all filters. 100 members with 10,000 keys each take 18 MiB, 1,000 of
            them 90 MiB. Beyond it the largest filters are not kept, and lookups do not find those members. It is at
            least 2 KiB for each of `members_max`.
        rebuild_share: a filter is rebuilt when this share of its keys is gone. Source: Summary Cache section V-B.
        rebuild_quiet_s: or this long after the last withdrawal.
        rebuild_pause_s: least time between two rebuilds for withdrawals.
        stream_timeout_s: a stream that takes longer is cut.
        greeting_timeout_s: a stream of another that says nothing for so long is cut; what is lost is sent again after
            1 s at most.
        streams_max: streams served at once, and as many opened. A quarter of those served is kept for members, and one
            stranger has at most a quarter.
        resolve_alone_s: time between two resolutions of the seeds while no other member is known.
        resolve_s: the same while there are others: then the seeds only help to heal a partition.

    Raises:
        ConfigError: a value is out of bounds, or two values contradict each other.
    """

    label: str = ""
    allow: tuple[str, ...] | None = None
    protocol: Span = PROTOCOL
    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.5
    indirect_probes: int = 3
    suspicion_mult: int = 4
    suspicion_max_mult: int = 6
    awareness_max: int = 8
    gossip_interval_s: float = 0.1
    gossip_fanout: int = 4
    gossip_to_dead_s: float = 30.0
    retransmit_mult: int = 4
    sync_interval_s: float = 30.0
    heal_interval_s: float = 10.0
    join_retry_s: float = 1.0
    forget_after_s: float = 86400.0
    members_max: int = 1024
    gone_max: int = 1024
    flaps_max: int = 3
    flap_within_s: float = 60.0
    flap_window_s: float = 600.0
    datagram_max_bytes: int = 1400
    batch_s: float = 0.02
    direct_members_max: int = 32
    log_keys: int = 1024
    snapshot_over_keys: int = 1024
    reconcile_interval_s: float = 0.2
    filters: FilterKind = FilterKind.BLOOM
    filter_bits_per_key: int = 16
    filter_bits_log2_max: int = 22
    directory_max_bytes: int = 40 * 1024 * 1024
    rebuild_share: float = 0.05
    rebuild_quiet_s: float = 60.0
    rebuild_pause_s: float = 5.0
    stream_timeout_s: float = 10.0
    greeting_timeout_s: float = 2.0
    streams_max: int = 16
    resolve_alone_s: float = 5.0
    resolve_s: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name in _BOUNDS:
                self._check_bounds(field.name, whole=field.type is int)
        AllowList(self.allow)
        if not isinstance(self.filters, FilterKind):
            raise ConfigError(f"filters = {self.filters!r} must be FilterKind.BLOOM or FilterKind.EXACT")
        if not 1 <= self.protocol.low <= self.protocol.high <= 15:
            raise ConfigError(f"protocol = {self.protocol} must be a span of versions within 1 to 15")
        if len(self.label.encode()) > 255:
            raise ConfigError("label must be at most 255 bytes of UTF-8")
        if self.probe_timeout_s >= self.probe_interval_s:
            raise ConfigError(
                f"probe_timeout_s = {self.probe_timeout_s} must be below probe_interval_s = {self.probe_interval_s}"
            )
        directory_min_bytes = _DIRECTORY_BYTES_PER_MEMBER_MIN * self.members_max
        if self.directory_max_bytes < directory_min_bytes:
            raise ConfigError(
                f"directory_max_bytes = {self.directory_max_bytes} must be at least {directory_min_bytes}, which is "
                f"{_DIRECTORY_BYTES_PER_MEMBER_MIN} for each of members_max = {self.members_max}"
            )
        if self.filter_bits_per_key & (self.filter_bits_per_key - 1):
            raise ConfigError(f"filter_bits_per_key = {self.filter_bits_per_key} must be a power of two")

    def _check_bounds(self, name: str, *, whole: bool) -> None:
        low, high = _BOUNDS[name]
        value = getattr(self, name)
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise ConfigError(f"{name} = {value!r} must be {kind} from {low} to {high}")


def lan(*, label: str = "") -> GossipConfig:
    """For machines within some milliseconds of each other."""
    return GossipConfig(label=label)


def wan(*, label: str = "") -> GossipConfig:
    """For machines far from each other: rarer and more patient. Source: memberlist, `DefaultWANConfig`."""
    return GossipConfig(
        label=label,
        probe_interval_s=5.0,
        probe_timeout_s=3.0,
        suspicion_mult=6,
        gossip_interval_s=0.5,
        gossip_to_dead_s=60.0,
        sync_interval_s=60.0,
        heal_interval_s=30.0,
        reconcile_interval_s=1.0,
        stream_timeout_s=30.0,
    )


def fast(*, label: str = "") -> GossipConfig:
    """As `lan`, finding a dead member in about 2.5 s at the price of twice the packets and less patience."""
    return GossipConfig(
        label=label,
        probe_interval_s=0.5,
        probe_timeout_s=0.2,
        suspicion_mult=3,
        sync_interval_s=15.0,
        heal_interval_s=5.0,
    )


def local(*, label: str = "") -> GossipConfig:
    """For nodes on one machine: short timeouts, eager repair."""
    return GossipConfig(
        label=label,
        probe_interval_s=0.5,
        probe_timeout_s=0.2,
        indirect_probes=1,
        suspicion_mult=3,
        gossip_interval_s=0.05,
        sync_interval_s=15.0,
        heal_interval_s=2.0,
        join_retry_s=0.2,
        gossip_to_dead_s=15.0,
        stream_timeout_s=5.0,
    )
