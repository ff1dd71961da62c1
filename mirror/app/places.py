"""Places: how many connections this node's listeners hold, whose, and which one goes when another comes. Pure.

Connections are of three kinds: from this machine, from a member's address, from a stranger. Each kind has places of its
own, so strangers take none of a member's. Within its kind one address has only so many. A connection without a request
under way is idle; it gives its place up for one that comes: the longest idle first. So idle connections, however many
somebody opens, keep nobody out.
"""

import enum
import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..metrics import Metrics
from ..settings import ServerSettings

log = logging.getLogger(__name__)


class Kind(enum.StrEnum):
    """Whose connection it is; the value is a label of metrics."""

    LOCAL = "local"
    """From this machine."""
    MEMBER = "member"
    """From the address of another member that is up."""
    STRANGER = "stranger"
    """From any other address."""


@dataclass(slots=True, eq=False)
class Place:
    """One connection's place.

    Args:
        kind: whose it is.
        origin: where the connection comes from, as `origin_of` gives it.
        close: closes the connection.
    """

    kind: Kind
    origin: str
    close: Callable[[], object]


class _Crowd:
    """All connections of one kind."""

    def __init__(self) -> None:
        self.by_origin: dict[str, dict[Place, None]] = {}
        """Of each address; those that are idle are in the order in which they became so."""
        self.idle: OrderedDict[Place, None] = OrderedDict()
        """The longest idle first."""
        self.count = 0


class Places:
    """Decides which connections come in, and which one goes for another.

    Args:
        members: gives the IP addresses of the members that are up.
        descriptors: the number of descriptors that this process may have open.
        settings: the bounds.
        metrics: counts.
        is_local: whether an address is of this machine alone.
    """

    def __init__(
        self,
        members: Callable[[], Collection[str]],
        descriptors: int,
        settings: ServerSettings | None = None,
        metrics: Metrics | None = None,
        is_local: Callable[[str], bool] | None = None,
    ) -> None:
        self._settings = settings = settings or ServerSettings()
        self._members = members
        self._is_local = is_local or _is_loopback
        self._known: Collection[str] = ()
        self._known_until = -1.0
        self._metrics = metrics or Metrics()
        self._crowds = {kind: _Crowd() for kind in Kind}
        self._limits = _limits(settings, descriptors)
        self._descriptors = descriptors
        kept = min(settings.descriptors_kept, descriptors // 4)
        self._tight_from = descriptors - kept
        self._too_tight_from = descriptors - kept // 2
        self._quiet_until = -1.0

    @property
    def count(self) -> int:
        """Connections of all kinds."""
        return sum(crowd.count for crowd in self._crowds.values())

    def kind(self, host: str, own: str, now: float) -> Kind:
        """Whose a connection is.

        Args:
            host: the IP address from which it comes; empty for a Unix socket.
            own: this node's address, to which it came.
            now: monotonic seconds.
        """
        if not host or host == own or self._is_local(host):
            return Kind.LOCAL
        if now >= self._known_until:
            self._known = frozenset(map(_unmapped, self._members()))
            self._known_until = now + self._settings.members_known_s
        return Kind.MEMBER if _unmapped(host) in self._known else Kind.STRANGER

    def take(self, kind: Kind, host: str, close: Callable[[], object], now: float) -> Place | None:
        """Give a connection a place, at the cost of an idle one where that is necessary.

        Args:
            kind: whose it is.
            host: the IP address from which it comes.
            close: closes it; called when it has to go. It may be replaced in the place.
            now: monotonic seconds.

        Returns:
            None: the connection is not to be let in.
        """
        crowd, limit, origin = self._crowds[kind], self._limits[kind], origin_of(host)
        own = crowd.by_origin.get(origin, {})
        if (len(own) >= limit.from_one and not self._make_room(next((p for p in own if p in crowd.idle), None))) or (
            crowd.count >= limit.in_all and not self._make_room(next(iter(crowd.idle), None))
        ):
            self._refuse(kind, host, now)
            return None
        place = Place(kind, origin, close)
        crowd.by_origin.setdefault(origin, {})[place] = None
        crowd.idle[place] = None
        crowd.count += 1
        self._metrics.connections.labels(kind).set(crowd.count)
        return place

    def work(self, place: Place) -> None:
        """A request of this connection is under way: it keeps its place."""
        self._crowds[place.kind].idle.pop(place, None)

    def rest(self, place: Place) -> None:
        """The connection is idle from now on."""
        crowd = self._crowds[place.kind]
        if place in crowd.by_origin.get(place.origin, ()):
            own = crowd.by_origin[place.origin]
            own[place] = own.pop(place)
            crowd.idle[place] = None
            crowd.idle.move_to_end(place)

    def leave(self, place: Place) -> None:
        """The connection is closed. It does no harm to say so twice."""
        crowd = self._crowds[place.kind]
        own = crowd.by_origin.get(place.origin, {})
        if place not in own:
            return
        del own[place]
        if not own:
            del crowd.by_origin[place.origin]
        crowd.idle.pop(place, None)
        crowd.count -= 1
        self._metrics.connections.labels(place.kind).set(crowd.count)

    def relieve(self, descriptor: int | None, now: float, most: int) -> bool:
        """Close idle connections while descriptors are scarce, strangers' first.

        Args:
            descriptor: the number of one that was opened just now. The kernel gives the lowest number that is free, so
                at least as many are open. None: no other can be opened.
            now: monotonic seconds.
            most: bounds the connections that are closed.

        Returns:
            False if no connection is idle, or too few descriptors are left until those that were closed are gone.
        """
        if descriptor is None:
            descriptor = self._descriptors
        wanted = min(descriptor - self._tight_from + 1, most)
        for kind in (Kind.STRANGER, Kind.MEMBER, Kind.LOCAL):
            while wanted > 0 and self._make_room(next(iter(self._crowds[kind].idle), None)):
                wanted -= 1
        if wanted > 0 and now >= self._quiet_until:
            self._quiet_until = now + self._settings.complaint_s
            log.warning("descriptors are scarce, %d are open: raise their limit (LimitNOFILE)", descriptor)
        return wanted <= 0 and descriptor < self._too_tight_from

    def _make_room(self, place: Place | None) -> bool:
        """Close an idle connection, if there is one."""
        if place is None:
            return False
        self.leave(place)
        self._metrics.connections_shed.labels(place.kind).inc()
        place.close()
        return True

    def _refuse(self, kind: Kind, host: str, now: float) -> None:
        self._metrics.connections_refused.labels(kind).inc()
        if now >= self._quiet_until:
            self._quiet_until = now + self._settings.complaint_s
            log.warning("a connection from %s (%s) is refused: all places are taken by requests", host, kind)


@dataclass(frozen=True, slots=True)
class _Limit:
    """Bounds one kind's connections: in all, and from one address."""

    in_all: int
    from_one: int


def _limits(settings: ServerSettings, descriptors: int) -> dict[Kind, _Limit]:
    """The places of each kind: those of the settings, or fewer where descriptors are few.

    Idle connections may take half of them. What is sent needs two more for each, and the rest of the agent needs some:
    `relieve` keeps these free.
    """
    in_all = {
        Kind.LOCAL: settings.local_max,
        Kind.MEMBER: settings.members_max,
        Kind.STRANGER: settings.strangers_max,
    }
    share = min(1.0, descriptors / 2 / sum(in_all.values()))
    from_one = {**in_all, Kind.MEMBER: settings.from_member_max, Kind.STRANGER: settings.from_stranger_max}
    limits = {kind: max(1, int(share * number)) for kind, number in in_all.items()}
    return {kind: _Limit(number, min(number, from_one[kind])) for kind, number in limits.items()}


def origin_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 network that one IPv6 host commonly has for itself."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))


def _unmapped(host: str) -> str:
    """An IPv4 address that an IPv6 socket shows as `::ffff:10.0.0.1`, as it is."""
    return host.removeprefix("::ffff:") if host.startswith("::ffff:") and "." in host else host


def _is_loopback(host: str) -> bool:
    return _unmapped(host).startswith("127.") or host == "::1"
