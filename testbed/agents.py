"""Agents as processes, and what they answer on their status endpoints."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from .network import Address, free_address, get
from .processes import wait_until
from .servers import Server

CLIENT_PORT: Final = 5000
PEER_PORT: Final = 5001
GOSSIP_PORT: Final = 7946

MODULE: Final = (sys.executable, "-m", "mirror")
"""How the `skvaller` command of the project under test is run."""

_ODD_AGENT: Final = Path(__file__).with_name("odd_agent.py")
_RUN_ODD: Final = """\
import runpy, sys
sys.path.append(sys.argv.pop(1))
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def odd(fault: str) -> Sequence[str]:
    """How an agent with a fault is run; `odd_agent.py` lists the faults. An agent without one is the ordinary one."""
    return (sys.executable, "-c", _RUN_ODD, str(_ODD_AGENT.parents[1]), str(_ODD_AGENT), fault) if fault else MODULE


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where an agent listens: for clients, for other members, and for gossip."""

    client: Address
    peer: Address
    gossip: Address

    @classmethod
    def at(cls, host: str, client_host: str | None = None) -> Self:
        """The usual ports of an IP address; the client endpoint's address may be another one."""
        client = Address(client_host or host, CLIENT_PORT)
        return cls(client, Address(host, PEER_PORT), Address(host, GOSSIP_PORT))

    @classmethod
    def free(cls) -> Self:
        """Ports of 127.0.0.1 that are free now."""
        return cls(free_address(), free_address(), free_address())


class Agent(Server):
    """A `skvaller agent`.

    Args:
        folder: for its data and log; made if it is not there.
        name: in the cluster.
        endpoints: where it listens.
        flags: more flags.
        netns: network namespace that it runs in.
        program: what the agent's arguments are given to.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        endpoints: Endpoints,
        flags: Sequence[str] = (),
        *,
        netns: str | None = None,
        program: Sequence[str] = MODULE,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.endpoints = endpoints
        places = ["--listen", endpoints.client, "--peer", endpoints.peer, "--gossip", endpoints.gossip]
        command = [*program, "agent", "--name", name, "--data-dir", str(folder), *map(str, places), *flags]
        super().__init__(name, command, endpoints.client, folder / "agent.log", netns=netns)

    def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        with suppress(OSError):
            return self.get("/readyz").startswith(b"ready\n")
        return False

    @property
    def url(self) -> str:
        """Of its client endpoint."""
        return f"http://{self.address}"

    @property
    def gossip(self) -> str:
        """Where others join it."""
        return str(self.endpoints.gossip)

    @property
    def host(self) -> str:
        """IP address of its peer and gossip endpoints."""
        return self.endpoints.peer.host

    def has_cached(self, digest: str) -> bool:
        """Whether its cache has a blob, complete and verified."""
        name = digest.removeprefix("sha256:")
        return (self.folder / "cache/blobs/sha256" / name[:2] / name).exists()

    # What it answers

    def get(self, path: str) -> bytes:
        """GET from its client endpoint."""
        return get(self.url + path, self.netns)

    def ask(self, path: str) -> Any:
        """What it answers on a status endpoint."""
        return json.loads(self.get(path))

    def members(self) -> list[dict[str, Any]]:
        """The members that it knows, as `/api/v1/members` shows them."""
        return list(self.ask("/api/v1/members")["members"])

    def states(self) -> dict[str, str]:
        """The state of every member that it knows, itself included."""
        return {row["name"]: row["state"] for row in self.members()}

    def alive(self) -> set[str]:
        """The members that it sees alive, itself included."""
        return {name for name, state in self.states().items() if state == "alive"}

    def homes(self) -> set[str]:
        """The members that it sees as homes that are no longer new."""
        return {row["name"] for row in self.members() if row["home"] == "yes"}

    def fetch(self, digest: str) -> dict[str, Any]:
        """Its record of the last fetch of some content; empty if it never fetched any."""
        fetches = self.ask("/api/v1/fetches")["fetches"]
        return next((dict(row) for row in fetches if row["digest"] == digest), {})

    def sources(self, digest: str) -> dict[str, int]:
        """Bytes by source of the last fetch of some content, so far; empty if it never fetched any."""
        return dict(self.fetch(digest).get("sources", {}))

    def holders(self, what: str) -> set[str]:
        """The members that it finds as holders of a digest or image name."""
        found = self.ask(f"/api/v1/find?q={quote(what)}")
        has = {row["member"] for rows in found["holders"].values() for row in rows if row["has"]}
        return has & {row["member"] for row in found["tags"]} if "tags" in found else has

    def metrics(self) -> Mapping[str, float]:
        """Its metrics, by name and labels as they are printed."""
        lines = self.get("/metrics").decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    # Waiting until it sees something

    def until_found(self, what: str, *holders: str) -> None:
        """Wait until it finds these members, and perhaps others, as holders of a digest or image name."""
        wait_until(lambda: set(holders) <= self.holders(what), f"{self.name} to find {what} on {', '.join(holders)}")

    def until_received(self, digest: str, source: str, count: int) -> None:
        """Wait until it has received at least `count` bytes of some content from a member or upstream."""
        wait_until(
            lambda: self.sources(digest).get(source, 0) >= count, f"{self.name} to get {count} bytes from {source}"
        )

    def until_state(self, member: str, state: str) -> None:
        """Wait until it sees a member in a state."""
        wait_until(lambda: self.states().get(member) == state, f"{self.name} to see {member} {state}")


def skvaller(*arguments: str, **environment: str) -> list[str]:
    """The `skvaller` command of the project under test, with these variables, and without those set outside."""
    unset = [word for name in os.environ if name.startswith("SKVALLER_") for word in ("-u", name)]
    variables = [f"{name}={value}" for name, value in environment.items()]
    return ["env", *unset, *variables, *MODULE, *arguments]
