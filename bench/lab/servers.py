"""What runs on the hosts of the lab, and what it answers during a run: agents, registry, pull-through cache."""

import re
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.agents import CLIENT_PORT, GOSSIP_PORT, PEER_PORT, Agent, Endpoints
from testbed.images import Image
from testbed.network import Address, Host
from testbed.registry import Registry

from ..content import REPOSITORY

REGISTRY_PORT: Final = 5000
UPSTREAM: Final = "upstream"
_SUSPICION: Final = re.compile(r"event=MemberSuspected member=(\S+)")


@dataclass(frozen=True, slots=True)
class Accesses:
    """What a registry was asked for, and what it sent.

    Args:
        manifest_gets: GET requests for manifests, successful or not.
        blob_gets: the same for blobs.
        heads: HEAD requests for either.
        sent_bytes: of all bodies, as far as they were sent.
    """

    manifest_gets: int
    blob_gets: int
    heads: int
    sent_bytes: int

    def __sub__(self, other: "Accesses") -> "Accesses":
        return Accesses(
            self.manifest_gets - other.manifest_gets,
            self.blob_gets - other.blob_gets,
            self.heads - other.heads,
            self.sent_bytes - other.sent_bytes,
        )

    @classmethod
    def of(cls, registry: Registry) -> "Accesses":
        """What a registry's access log says so far."""
        manifests, blobs = registry.accesses("GET", "/manifests/"), registry.accesses("GET", "/blobs/")
        heads = [*registry.accesses("HEAD", "/manifests/"), *registry.accesses("HEAD", "/blobs/")]
        sent_bytes = sum(access.size for access in (*manifests, *blobs))
        return cls(len(manifests), len(blobs), len(heads), sent_bytes)


def registry_on(host: Host, folder: Path, image: Image | None = None, upstream: Host | None = None) -> Registry:
    """A docker-registry that listens for all hosts.

    Args:
        host: where it runs.
        folder: for its files.
        image: what it has.
        upstream: host of the registry of which it is a pull-through cache.
    """
    source = Address(upstream.address, REGISTRY_PORT) if upstream else None
    registry = Registry(folder, Address(host.address, REGISTRY_PORT), netns=host.netns, upstream=source)
    if image is not None:
        registry.hold(image, REPOSITORY, image.name.rpartition(":")[2])
    return registry


def agent_on(host: Host, folder: Path, seed: Host, upstream: Host) -> Agent:
    """An agent, empty at first, with the name of its host.

    Args:
        host: where it runs.
        folder: for its data.
        seed: a host with another agent, or the same one.
        upstream: host of the registry that it takes for docker.io.
    """
    endpoints = Endpoints(
        Address("127.0.0.1", CLIENT_PORT), Address("0.0.0.0", PEER_PORT), Address("0.0.0.0", GOSSIP_PORT)
    )
    flags = ["--cache-size", "20GiB", "--advertise", host.address, "--log-level", "info"]
    flags += ["--upstream", f"docker.io=http://{upstream.address}:{REGISTRY_PORT}"]
    flags += ["--join", seed.address] if seed != host else []
    return Agent(folder, host.name, endpoints, flags, netns=host.netns)


# What agents answer. One that does not answer, for example because it was killed, counts as empty.


def alive(agent: Agent) -> set[str]:
    """The members that an agent sees alive, itself included; empty while it does not answer."""
    return {row["name"] for row in _members(agent) if row["state"] == "alive"}


def keys_of(agent: Agent, name: str) -> int:
    """How many keys an agent knows a member to hold; 0 while it does not answer."""
    return next((int(row["keys"]) for row in _members(agent) if row["name"] == name), 0)


def received(agent: Agent) -> Mapping[str, int] | None:
    """Bytes that an agent has received, by source: a member's name or `upstream`; None if it does not answer."""
    answer = _ask(agent, "/api/v1/fetches")
    if answer is None:
        return None
    total: Counter[str] = Counter()
    for record in answer["fetches"]:
        total.update(record["sources"])
    return total


def metrics(agent: Agent) -> Mapping[str, float]:
    """An agent's metrics, by name and labels as they are printed; empty if it does not answer."""
    with suppress(OSError):
        return agent.metrics()
    return {}


def suspicions_of(agent: Agent, name: str) -> int:
    """How often an agent has suspected a member, by its log."""
    return _SUSPICION.findall(agent.output).count(name)


def _members(agent: Agent) -> list[dict[str, Any]]:
    answer = _ask(agent, "/api/v1/members")
    return list(answer["members"]) if answer is not None else []


def _ask(agent: Agent, path: str) -> Any:
    if agent.running:
        with suppress(OSError):
            return agent.ask(path)
    return None


def keep_logs(folder: Path, target: Path) -> None:
    """Copy all logs of a run before its folder is removed."""
    for log in (*folder.glob("*/*.log"), *folder.glob("*/*/*.log")):
        copy = target / log.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, copy)
