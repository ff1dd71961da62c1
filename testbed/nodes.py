"""Hosts that run an agent, alone or beside a containerd."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .agents import Agent
from .containerd import Containerd
from .images import Image
from .network import Host

CONTAINERD_NAMESPACE: Final = "default"
"""The namespace of containerd in which the images of a node are; its agent serves that one."""


@dataclass(frozen=True, slots=True)
class Node:
    """A host with a containerd, and an agent that serves it and what the containerd holds.

    Args:
        host: where both run.
        containerd: asks the agent for everything of docker.io.
        agent: on the host's 127.0.0.1:5000.
        hosts_dir: the folder that tells containerd so.
    """

    host: Host
    containerd: Containerd
    agent: Agent
    hosts_dir: Path

    def ctr(self, *arguments: str) -> str:
        """Run `ctr`; return what it printed."""
        return self.containerd.ctr(*arguments, namespace=CONTAINERD_NAMESPACE)

    def import_image(self, image: Image) -> None:
        """Put an image into the containerd, as a person would who has it as a file."""
        self.containerd.import_image(image, namespace=CONTAINERD_NAMESPACE)

    def pull(self, name: str) -> None:
        """Pull and unpack as containerd does; raise if that fails."""
        self.ctr("images", "pull", "--hosts-dir", str(self.hosts_dir), name)

    def digest_of(self, name: str) -> str | None:
        """What the containerd has under a name."""
        rows = [line.split() for line in self.ctr("images", "list").splitlines()[1:]]
        return next((row[2] for row in rows if row[0] == name), None)

    def has(self, image: Image) -> bool:
        """Whether every byte of an image is in the containerd's content store, as it should be."""
        return all(
            (path := self.containerd.blob_path(digest)).exists() and path.read_bytes() == image.read(digest)
            for digest in image.digests
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """Hosts with agents that join each other, by name."""

    hosts: dict[str, Host]
    agents: dict[str, Agent]

    def until_all(self, state: str = "alive") -> None:
        """Wait until every agent sees every other one in a state."""
        for agent in self.agents.values():
            for name in self.agents.keys() - {agent.name}:
                agent.until_state(name, state)
