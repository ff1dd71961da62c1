"""What hosts send and receive on some ports, counted by nftables at the bridge: control traffic apart from all else."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from .network import Host
from .processes import run

_TABLE: Final = "bridge counted"
_BEFORE_FAULTS: Final = -100
_AFTER_FAULTS: Final = 100
"""Priorities in the bridge's forward hook. Faults drop packets at 0: what is lost there was sent, never received."""


@dataclass(frozen=True, slots=True)
class Count:
    """Packets, and their bytes with the headers of IP and TCP or UDP, without Ethernet's."""

    packets: int = 0
    bytes: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.packets + other.packets, self.bytes + other.bytes)

    def __sub__(self, other: "Count") -> "Count":
        return Count(self.packets - other.packets, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class Flow:
    """What a host has received and sent on the counted ports."""

    received: Count
    sent: Count

    def __sub__(self, other: "Flow") -> "Flow":
        return Flow(self.received - other.received, self.sent - other.sent)


class PortCounters:
    """Counts, inside of `with`, the packets from or for some TCP and UDP ports.

    A TCP packet of up to 64 KiB that is not cut yet counts as one.

    Args:
        hosts: of one network; at least one.
        ports: at either end of the packets.
    """

    def __init__(self, hosts: Sequence[Host], ports: Collection[int]) -> None:
        self._hosts = hosts
        self._ports = ports
        self._switch = hosts[0].switch

    def __enter__(self) -> Self:
        if self._ports:
            run(["nft", "; ".join(self._rules())], netns=self._switch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ports:
            run(["nft", f"delete table {_TABLE}"], netns=self._switch)

    def read(self) -> Mapping[str, Flow]:
        """What has been counted so far, by the host's name."""
        listed = run(["nft", "-j", "list", "counters", "table", _TABLE], netns=self._switch) if self._ports else ""
        counts = counts_of(listed)
        return {
            host.name: Flow(counts.get(f"received-{host.port}", Count()), counts.get(f"sent-{host.port}", Count()))
            for host in self._hosts
        }

    def _rules(self) -> Sequence[str]:
        ports = ", ".join(map(str, sorted(self._ports)))
        rules = [f"add table {_TABLE}"]
        for way, device, priority in (("sent", "iifname", _BEFORE_FAULTS), ("received", "oifname", _AFTER_FAULTS)):
            rules += [f"add counter {_TABLE} {way}-{host.port}" for host in self._hosts]
            counters = ", ".join(f'"{host.port}" : "{way}-{host.port}"' for host in self._hosts)
            rules.append(f"add chain {_TABLE} {way} {{ type filter hook forward priority {priority}; }}")
            rules += [
                f"add rule {_TABLE} {way} meta l4proto {{ tcp, udp }} th {end} {{ {ports} }}"
                f" counter name {device} map {{ {counters} }} accept"
                for end in ("sport", "dport")
            ]
        return rules


def counts_of(listed: str) -> Mapping[str, Count]:
    """The counters by name in what `nft -j list counters` has printed; none in an empty text."""
    items = json.loads(listed)["nftables"] if listed else []
    counters = (item["counter"] for item in items if "counter" in item)
    return {counter["name"]: Count(counter["packets"], counter["bytes"]) for counter in counters}
