"""What an agent's facts of itself mean."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...quantities import count_text, size_text
from ...service import Service
from .. import Finding, Verdict, error, ok, skipped, warning
from ..advice import SET_CLOCK, Advice
from ..facts import Disk, NodeFacts

_LOW_BYTES: Final = 1 << 30
"""Free bytes of a disk below which somebody should look: an image has some 100 MiB, and others write as well."""
_FULL_BYTES: Final = 64 << 20
"""Free bytes below which no layer of an image fits."""
_LOW_INODES: Final = 10_000
_FULL_INODES: Final = 100
_FEW_DESCRIPTORS: Final = 8192
"""The agent uses fewer connections where it may have fewer descriptors."""
_NEARLY_ALL: Final = 0.9
_AGAIN: Final = "skvaller doctor    # once more"

_ALONE: Final[Sequence[tuple[str, str, str]]] = (
    (
        "by this node's clock",
        "clock",
        "The clocks of the two are more than a week apart, or the certificate of its --tls-cert has expired.",
    ),
    ("another key", "key", "It has another cluster key than this node, so neither believes the other."),
    ("may want TLS", "key", "It has a cluster key, and this node has none."),
    ("cannot open the seal", "key", "It has no cluster key, or its cluster has another name (--cluster)."),
    ("WRONG_VERSION_NUMBER", "seed", "Something else than the gossip of an agent answers there."),
    ("greeting", "seed", "Something else than the gossip of an agent answers there."),
    ("not resolved", "seed", "No name server knows that name."),
    ("not over UDP", "udp", "A firewall lets TCP through and drops UDP."),
    ("refused", "refused", "Nothing listens there: no agent runs on that machine, or its gossip has another port."),
    (
        "",
        "silent",
        "No answer comes: the machine is down, a firewall drops what is sent there, or its gossip has another port.",
    ),
)
"""Words in what came back from a node to join through, what they show, and what that means; the first that fits."""


def agent(facts: NodeFacts, url: str) -> list[Finding]:
    """Whether it serves."""
    if not facts.is_ready:
        return [
            warning(
                "agent",
                f"{facts.name} answers at {url}, and is starting or leaving",
                "Pulls get 503 until it is ready, which takes seconds.",
                _AGAIN,
            )
        ]
    where = ", ".join(facts.listen)
    return [ok("agent", f"{facts.name} {facts.version} serves clients on {where}")]


def address(facts: NodeFacts, advice: Advice, members: int) -> list[Finding]:
    """Whether it tells others the right address."""
    host = ipaddress.ip_address(facts.host)
    says = f"others reach it at {facts.host}, ports {facts.peer_port} and {facts.gossip_port}"
    mend = advice.set("advertise", facts.addresses[0] if facts.addresses else "ADDRESS")
    if host.is_loopback and facts.seeds and not members:
        return [
            warning(
                "address",
                f"only this machine reaches it: it listens for members on {facts.host}, and is to join others",
                "No node elsewhere can take part with it.",
                f"{advice.set('peer', '0.0.0.0:5001')}, and gossip likewise; or give it the cluster's key-file",
            )
        ]
    if host.is_loopback:
        return [ok("address", f"only this machine reaches it: it listens for members on {facts.host}")]
    if facts.addresses and facts.host not in facts.addresses:
        return [
            warning(
                "address",
                f"{says}, which is no address of this machine",
                "That is right behind a translated address alone; else nobody reaches this node.",
                mend,
            )
        ]
    return [ok("address", says)]


def name(facts: NodeFacts, configured: str | None, advice: Advice) -> list[Finding]:
    """Whether no other node has its name, and it is the one that the settings give."""
    if facts.namesake:
        return [
            error(
                "name",
                f"the node at {facts.namesake} is called {facts.name} as well",
                "Of two nodes with one name the later one ends, or takes no part in the cluster.",
                advice.there(advice.set("name", "ANOTHER-NAME"), facts.namesake.rpartition(":")[0]),
            )
        ]
    if configured is not None and configured != facts.name:
        return [
            warning(
                "name",
                f"the agent is called {facts.name}, and the settings say {configured}",
                "It was started with other settings, or these have changed since.",
                advice.restart,
            )
        ]
    return [ok("name", f"no other node is called {facts.name}")]


def cluster(facts: NodeFacts, alive: int, advice: Advice) -> list[Finding]:
    """Whether it has found the others."""
    if not facts.alone:
        if facts.candidates:
            says = f"{count_text(facts.candidates, 'node')} that was heard of does not answer this node over UDP"
            means = "Somebody joins at this moment; or a firewall drops UDP, here or there: then it does not get in."
            return [warning("cluster", says, means, advice.open_port(facts.gossip_port, "udp"))]
        if alive:
            return [ok("cluster", f"it sees {count_text(alive, 'other member')}")]
        if facts.seeds:
            return [warning("cluster", "it has reached no other member yet", "It joins at this moment.", _AGAIN)]
        return [ok("cluster", "it is a cluster of its own: it has no node to join through")]
    found = []
    for attempt in facts.alone.split("; "):
        place, _, outcome = attempt.partition(": ")
        found.append(seed(place, outcome, facts, advice))
    return found


def seed(place: str, outcome: str, facts: NodeFacts, advice: Advice) -> Finding:
    """Why a node to join through does not let this one in."""
    kind, means = next((kind, means) for words, kind, means in _ALONE if words in outcome)
    host, _, port_text = place.rpartition(":")
    port = int(port_text) if port_text.isdecimal() else facts.gossip_port
    file = facts.key_file or "/etc/skvaller/cluster.key"
    commands: Mapping[str, str] = {
        "clock": f"date -u; ssh root@{host} date -u; on the one that is wrong: {SET_CLOCK}",
        "key": f"scp root@{host}:{file} {file}, then {advice.restart}    # compare first: skvaller keys list, on both",
        "seed": advice.set("join", ["HOST-OF-ANOTHER-NODE"]),
        "udp": advice.open_port(port, "udp", host),
        "refused": f"on {host}: {advice.start}",
        "silent": advice.open_port(port, "tcp", host),
    }
    check = {"key": "keys", "clock": "clock"}.get(kind, "cluster")
    says = f"it is alone, and {place}, through which it is to join, does not let it in: {outcome}"
    return Finding(
        check, Verdict.ERROR, says, f"{means} It serves its own clients, and shares nothing.", commands[kind]
    )


def disk(facts: NodeFacts, advice: Advice) -> list[Finding]:
    """Whether the cache has room."""
    if facts.keeps_nothing:
        return [
            error(
                "disk",
                f"the cache keeps nothing: {facts.keeps_nothing}",
                "What is pulled passes through memory, and is fetched again the next time.",
                f"skvaller prune --unused 7d; {_largest(facts.disk)}",
            )
        ]
    if not facts.cache_limit_bytes:
        return [ok("disk", "no content is kept on the disk, as cache-size = 0 says")]
    return disk_itself(facts.disk, max(0, facts.cache_limit_bytes - facts.cache_bytes), advice)


def disk_itself(facts: Disk, to_come_bytes: int, advice: Advice) -> list[Finding]:
    """Whether a file system has room; `to_come_bytes`: what the cache may still want of it."""
    if facts.is_read_only:
        return [
            error(
                "disk",
                f"the file system of {facts.folder} is mounted read-only",
                "Nothing can be kept. The kernel does that after an error of the disk.",
                f"dmesg | tail -50, then mount -o remount,rw $(findmnt -no TARGET -T {facts.folder})",
            )
        ]
    if facts.problem:
        return [
            error(
                "disk",
                f"{facts.folder}: {facts.problem}",
                "Nothing can be kept there.",
                f"ls -ld {facts.folder}; chown -R USER-OF-THE-AGENT {facts.folder}",
            )
        ]
    if facts.free_inodes is not None and facts.free_inodes < _FULL_INODES:
        return [
            error(
                "disk",
                f"the file system of {facts.folder} has no inode left for a new file",
                "Nothing can be kept, although bytes are free.",
                f"du --inodes -x -d 2 $(findmnt -no TARGET -T {facts.folder}) | sort -n | tail",
            )
        ]
    if facts.free_bytes < _FULL_BYTES:
        return [
            error(
                "disk",
                f"the disk of {facts.folder} is full: {size_text(facts.free_bytes)} are free",
                "Nothing can be kept there.",
                _largest(facts),
            )
        ]
    says = f"{size_text(facts.free_bytes)} are free for {facts.folder}"
    if facts.free_bytes < min(_LOW_BYTES, facts.total_bytes / 10):
        return [warning("disk", says, "It is nearly full.", _largest(facts))]
    if facts.free_inodes is not None and facts.free_inodes < _LOW_INODES:
        return [
            warning(
                "disk",
                f"{says}, and {facts.free_inodes} inodes",
                "Soon no new file fits.",
                f"du --inodes -x -d 2 $(findmnt -no TARGET -T {facts.folder}) | sort -n | tail",
            )
        ]
    if to_come_bytes > facts.free_bytes:
        fits = size_text(max(64 << 20, facts.free_bytes - _LOW_BYTES))
        return [
            warning(
                "disk",
                f"{says}, and the cache may grow by {size_text(to_come_bytes)}",
                "The disk is full before the cache is: then older content goes, and other programs fail.",
                advice.set("cache-size", fits.replace(" ", "")),
            )
        ]
    return [ok("disk", says)]


def _largest(facts: Disk) -> str:
    """What shows where the bytes of a disk are."""
    return f"du -x -d 2 $(findmnt -no TARGET -T {facts.folder}) | sort -n | tail    # then delete, or grow the disk"


def files(facts: NodeFacts, advice: Advice) -> list[Finding]:
    """Whether it may have enough files open."""
    allowed, used = facts.descriptors.allowed, facts.descriptors.used
    says = f"{used:,} of {allowed:,} files and sockets are open"
    mend = {
        Service.SYSTEMD: "systemctl edit skvaller    # [Service] LimitNOFILE=65536, then systemctl restart skvaller",
        Service.KUBERNETES: "systemctl edit containerd    # [Service] LimitNOFILE=65536, then systemctl restart "
        f"containerd; {advice.restart}",
        Service.BY_HAND: "ulimit -Hn 65536 before the agent is started",
    }[advice.service]
    if used > _NEARLY_ALL * allowed:
        return [error("files", says, "Connections are refused soon.", mend)]
    if allowed < _FEW_DESCRIPTORS:
        return [warning("files", says, "The agent takes fewer connections than many nodes open.", mend)]
    return [ok("files", says)]


def containerd(facts: NodeFacts, sockets: Sequence[str], advice: Advice) -> list[Finding]:
    """Whether the containerd is there whose content it shares; `sockets`: of those that this machine has."""
    if not facts.containerd and sockets:
        says = f"no containerd is shared, and {sockets[0]} is here"
        means = "Images that were imported or tagged by hand on this node are not found by the others."
        return [skipped("containerd", says, means, advice.set("containerd", sockets[0]))]
    if not facts.containerd:
        return [skipped("containerd", "no containerd is shared: the setting containerd names none")]
    way = facts.containerd_way
    if way is None or way.is_open:
        return [ok("containerd", f"{facts.containerd} takes connections")]
    others = [it for it in sockets if it != facts.containerd]
    return [containerd_socket(facts.containerd, way.problem, others, advice)]


def containerd_socket(address: str, problem: str, others: Sequence[str], advice: Advice) -> Finding:
    """A socket of containerd that takes no connection.

    Args:
        address: as the setting has it.
        problem: why not.
        others: sockets of containerd that there are on this machine.
        advice: commands.
    """
    is_forbidden = "denied" in problem.lower()
    if is_forbidden and advice.service is Service.KUBERNETES:  # the pod is root's: SELinux denies it
        mend = advice.in_chart('podSecurityContext = {"seLinuxOptions": {"type": "spc_t"}}')
    elif is_forbidden:
        mend = "skvaller install    # gives the unit the right to use it: AmbientCapabilities=CAP_DAC_OVERRIDE"
    elif others:
        mend = advice.set("containerd", others[0])
    else:
        mend = "systemctl start containerd    # or, where there is none, remove the setting containerd"
    means = "What containerd holds is not shared, and images that were imported or tagged by hand are not found."
    return error("containerd", f"{address}: {problem}", means, mend)


def keys(answer: Mapping[str, Any], has_key: bool, advice: Advice) -> list[Finding]:
    """Whether all members have the same keys: of the rows of `/api/v1/keys`."""
    if not has_key:
        return [
            skipped("keys", "the cluster has no key: whoever reaches the peer and gossip ports is taken for a member")
        ]
    mine: list[str] = next((row["keys"] for row in answer["members"] if row["member"] == answer["name"]), [])
    found = []
    for row in answer["members"]:
        member, theirs = row["member"], row["keys"]
        if row["problem"]:
            found.append(
                warning(
                    "keys",
                    f"{member} does not say which keys it has: {row['problem']}",
                    "A change of keys would not reach it.",
                    "skvaller keys list",
                )
            )
        elif theirs and mine and theirs[0] not in mine:
            found.append(
                error(
                    "keys",
                    f"{member} seals with key {theirs[0]}, which this node lacks",
                    "This node cannot read what it sends.",
                    f"scp root@{member}:{answer['key_file']} {answer['key_file']}, then {advice.restart}",
                )
            )
        elif set(theirs) != set(mine):
            found.append(
                warning(
                    "keys",
                    f"{member} has keys {', '.join(theirs)}, and this node {', '.join(mine)}",
                    "A change of keys is not finished.",
                    f"skvaller keys use {mine[0]} && skvaller keys remove OLD-ID",
                )
            )
    if found:
        return found
    alike = f"key {mine[0]}" if len(mine) == 1 else f"keys {', '.join(mine)}"
    return [ok("keys", f"{count_text(len(answer['members']), 'member')} with the same {alike}")]
