"""What the namespace does to all datagrams in it, and what it counts."""

from testbed.network import Namespace

_TABLE = "inet bench"


def lose(namespace: Namespace, share: float) -> None:
    """Let this share of all UDP datagrams vanish from now on, 0 to 1."""
    commands = ["flush ruleset"]
    if share:
        rule = f"meta l4proto udp numgen random mod 1000 < {round(share * 1000)} drop"
        commands += [f"add table {_TABLE}", f"add chain {_TABLE} loss {{ type filter hook input priority 0; }}"]
        commands += [f"add rule {_TABLE} loss {rule}"]
    namespace.run("nft", "; ".join(commands))


def sent(namespace: Namespace) -> tuple[int, int]:
    """Bytes and packets that left IP in a namespace so far. Source: proc_pid_net(5)."""
    octets = _counter(namespace.run("cat", "/proc/net/netstat"), "IpExt", "OutOctets")
    return octets, _counter(namespace.run("cat", "/proc/net/snmp"), "Ip", "OutRequests")


def _counter(text: str, protocol: str, name: str) -> int:
    """One of the kernel's counters, whose names stand in one line and values in the next."""
    lines = [line.split() for line in text.splitlines() if line.startswith(f"{protocol}:")]
    return int(lines[1][lines[0].index(name)])
