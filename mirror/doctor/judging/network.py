"""What lies between this node and the others: TCP, UDP, large packets, clocks."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from .. import Finding, Verdict, error, ok, skipped, warning
from ..advice import Advice
from ..facts import Datagram, MemberFacts, NodeFacts
from .words import SET_CLOCK, span, times

_CLOCK_WARNING_S: Final = 5.0
"""Difference of two clocks, s, from which it is told: more than the way of a question takes, so it is real, and lines
of two logs cannot be compared."""
_CLOCK_ERROR_S: Final = 300.0
"""From which tokens of registries, and soon certificates, count as expired or not yet valid."""
_GOOD_MTU: Final = 1280
"""What every link must carry. Source: RFC 8200 section 5."""
_REFUSED: Final = "refused"


def tcp(me: NodeFacts, members: Sequence[MemberFacts], advice: Advice) -> list[Finding]:
    """Whether each member's ports are reached over TCP, and whether it reaches this node's."""
    found = []
    for it in members:
        wrong = _gone(it) or [*_to(it, advice), *_back(me, it, advice)]
        found += wrong or [
            ok(
                "tcp",
                f"{it.name} at {it.host}: ports {it.peer_port} and {it.gossip_port} are open, "
                f"and it reaches {me.peer_port} and {me.gossip_port} here",
            )
        ]
    return found or [skipped("tcp", "there is no other member to ask")]


def _gone(it: MemberFacts) -> list[Finding]:
    """A member that does not answer in any way."""
    if it.peer.is_open or it.gossip.is_open or it.came:
        return []
    means = "It shares nothing, and what it alone holds is not to be had."
    if it.state != "alive":
        return [
            warning(
                "tcp",
                f"{it.name} at {it.host} is {it.state}, and nothing of it answers: {it.peer.problem}",
                means,
                f"on {it.name}: systemctl status skvaller; ip address",
            )
        ]
    return [
        error(
            "tcp",
            f"{it.name} at {it.host} is alive, and nothing of it is reached from here: {it.peer.problem}",
            means,
            f"ip route get {it.host}; nft list ruleset    # here and on {it.name}",
        )
    ]


def _to(it: MemberFacts, advice: Advice) -> list[Finding]:
    found = []
    for port, way, what, means in (
        (it.peer_port, it.peer, "peer", "This node takes nothing from it, and fetches that upstream."),
        (it.gossip_port, it.gossip, "gossip", "This node learns late, or never, what it holds."),
    ):
        if way.is_open:
            continue
        if _REFUSED in way.problem.lower():
            mend = f"on {it.name}: ss -ltn sport = :{port}; {advice.service.restart(it.name)}"
        else:
            mend = advice.open_port(port, "tcp", it.name)
        says = f"this node does not reach {it.name}'s {what} port {it.host}:{port} over TCP: {way.problem}"
        found.append(error("tcp", says, means, mend))
    return found


def _back(me: NodeFacts, it: MemberFacts, advice: Advice) -> list[Finding]:
    back = it.back
    if back is None:
        if not it.peer.is_open:
            return []
        return [
            warning(
                "tcp",
                f"{it.name} did not try to reach this node back: {it.problem}",
                "Nobody knows whether it can. It may not know this node yet, run an older version, or lose packets.",
                f"on {it.name}: skvaller doctor",
            )
        ]
    found = []
    for port, way, what, means in (
        (me.peer_port, back.peer, "peer", "It takes nothing from this node."),
        (me.gossip_port, back.gossip, "gossip", "It learns late, or never, what this node holds."),
    ):
        if not way.is_open:
            says = f"{it.name} does not reach this node's {what} port {back.knows_at}:{port} over TCP: {way.problem}"
            found.append(error("tcp", says, means, advice.open_port(port, "tcp")))
    if back.knows_at != me.host:
        found.append(
            warning(
                "tcp",
                f"{it.name} knows this node at {back.knows_at}, not at {me.host}",
                "It has moved, or another node has its name.",
                advice.restart,
            )
        )
    return found


def udp(me: NodeFacts, members: Sequence[MemberFacts], advice: Advice) -> list[Finding]:
    """Whether datagrams of gossip pass, in each direction."""
    found = []
    for it in members:
        there, here = _passes(it)
        # A firewall that drops UDP one way is common: each direction has its own finding.
        if there is None and not here:
            if it.peer.is_open or it.gossip.is_open:
                found.append(_unknown(me, it, advice))
            continue
        if there is False:
            says = f"{it.name} gets no datagram of this node: UDP from here to {it.host}:{it.gossip_port} is dropped"
            found.append(
                error("udp", says, f"{_ON_THE_WAY} {_UDP_MEANS}", advice.open_port(it.gossip_port, "udp", it.name))
            )
        if not here:
            says = (
                f"this node gets no datagram of {it.name}: UDP from {it.host} to port {me.gossip_port} here is dropped"
            )
            found.append(error("udp", says, f"{_ON_THE_WAY} {_UDP_MEANS}", advice.open_port(me.gossip_port, "udp")))
        if there is not False and here:
            found.append(ok("udp", f"{it.name}: datagrams pass in both directions"))
    return found or [skipped("udp", "there is no other member that answers")]


def _unknown(me: NodeFacts, it: MemberFacts, advice: Advice) -> Finding:
    """Datagrams that are lost, where the member could not be asked in which direction."""
    here = advice.open_port(me.gossip_port, "udp")
    if not me.received:
        says = f"not one datagram has come to this node: UDP to port {me.gossip_port} here is dropped"
        return error("udp", says, _UDP_MEANS, here)
    says = f"no datagram of {it.name} answers, and it could not be asked which way they are lost: {it.problem}"
    return error("udp", says, _UDP_MEANS, f"{advice.open_port(it.gossip_port, 'udp', it.name)}; or here: {here}")


_ON_THE_WAY: Final = "Where they come in, as a rule; or where they go out, or by something between."
_UDP_MEANS: Final = (
    "Gossip is UDP. Without it a node does not get in, or members suspect each other, and news come late."
)


def _passes(it: MemberFacts) -> tuple[bool | None, bool]:
    """Whether small datagrams pass to a member (None: nobody knows), and from it."""
    here = bool(it.came)
    if it.back is not None:
        return bool(it.back.heard), here
    return True if here else None, here  # it was not asked, so what came are answers


def mtu(me: NodeFacts, members: Sequence[MemberFacts], advice: Advice) -> list[Finding]:
    """Whether datagrams as large as gossip sends pass where small ones do."""
    found = []
    for it in members:
        there, here = _passes(it)
        if not there or not here:
            continue  # said by `udp`
        heard = it.back.heard if it.back is not None else ()
        lost = []
        if Datagram.FULL not in heard and Datagram.FULL_CAME not in it.came:
            lost.append(f"from here to {it.name}")
        if Datagram.FULL_BACK not in it.came:
            lost.append(f"from {it.name} to here")
        if not lost:
            found.append(ok("mtu", f"{it.name}: large datagrams pass in both directions"))
            continue
        found.append(
            error(
                "mtu",
                f"small datagrams pass, and large ones are lost {' and '.join(lost)}",
                "Some link on the way carries smaller packets than these machines think (a tunnel, a VLAN), and "
                "tells nobody. Gossip about content is lost, and connections stall.",
                f"ip link set dev $(ip -o route get {it.host} | grep -o 'dev [^ ]*' | cut -d' ' -f2) "
                f"mtu {_GOOD_MTU}    # here and on {it.name}; `tracepath -n {it.host}` may show more",
            )
        )
    return found or [skipped("mtu", "there is no other member to which datagrams pass")]


def clock(members: Sequence[MemberFacts]) -> list[Finding]:
    """Whether the clocks of all are alike."""
    ahead = {it.name: it.ahead_s for it in members if it.ahead_s is not None}
    if not ahead:
        return [skipped("clock", "no other member told its time")]
    far = {name: seconds for name, seconds in ahead.items() if abs(seconds) >= _CLOCK_WARNING_S}
    if not far:
        return [ok("clock", f"as that of {times(len(ahead), 'member')}, within {_CLOCK_WARNING_S:g} s")]
    means = (
        "Lines of logs cannot be compared. From minutes on tokens of registries are not valid, and from days on "
        "certificates."
    )
    middle, spread = median(far.values()), max(far.values()) - min(far.values())
    if len(far) > max(1, len(ahead) / 2) and spread < _CLOCK_WARNING_S:
        relation = "behind" if middle > 0 else "ahead of"
        says = f"this node's clock is {span(abs(middle))} {relation} those of most members ({', '.join(sorted(far))})"
        return [Finding("clock", _how_bad(middle), says, means, SET_CLOCK)]
    found = []
    for name, seconds in sorted(far.items()):
        relation = "ahead of" if seconds > 0 else "behind"
        says = f"{name}'s clock is {span(abs(seconds))} {relation} this node's"
        where = f"on {name}, or here if that one is right: " if len(ahead) == 1 else f"on {name}: "
        found.append(Finding("clock", _how_bad(seconds), says, means, where + SET_CLOCK))
    return found


def _how_bad(seconds: float) -> Verdict:
    return Verdict.ERROR if abs(seconds) >= _CLOCK_ERROR_S else Verdict.WARNING
