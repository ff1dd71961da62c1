"""Spegel (https://spegel.dev) on each host, between its containerd and upstream.

Without Kubernetes: each Spegel is told the addresses and identities of all, which are made beforehand, so that it
depends on no single host. It serves what the containerd of its host has, and dials that when it starts. Its other
settings are its defaults.
"""

import re
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from testbed.containerd import Containerd, write_hosts
from testbed.images import Image
from testbed.network import Address, Host, Traffic, get, inside
from testbed.processes import Process, run, wait_until
from testbed.servers import Server

from ...content import REPOSITORY
from ..servers import UPSTREAM
from . import MEMBERS, Mode, Site

REGISTRY_PORT: Final = 5000
ROUTER_PORT: Final = 5001
METRICS_PORT: Final = 9090
REGISTRY: Final = "docker.io"

_ASK_S: Final = 10.0
"""How long a Spegel may take to answer, seconds; it gives up a question for a manifest after 3 s."""

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_KEY_HEAD: Final = bytes.fromhex("002408011220")
"""What comes before an ed25519 key in a peer's id: a multihash that is the key itself, of 36 bytes, in protobuf.

Source: libp2p specifications, peer-ids.
"""
_PEER: Final = re.compile(r"\b12D3KooW[1-9A-HJ-NP-Za-km-z]{44}\b")


class SpegelServer(Server):
    """A Spegel.

    Args:
        host: where it runs.
        folder: for its key and log; made if it is not there.
        containerd: of the host.
        peers: the libp2p addresses of all others.
        program: command or path.
    """

    def __init__(self, host: Host, folder: Path, containerd: Containerd, peers: Sequence[str], program: str) -> None:
        command = registry_command(program, host.address, folder, containerd, peers)
        address = Address("127.0.0.1", REGISTRY_PORT)
        super().__init__(f"spegel on {host.name}", command, address, folder / "spegel.log", netns=host.netns)

    def is_ready(self) -> bool:
        """Whether it says that it is ready, which one that is alone never does."""
        return self._answers("readyz")

    def is_up(self) -> bool:
        """Whether it answers."""
        return self._answers("livez")

    def peers(self) -> set[str]:
        """The ids of the peers that it has found; none while it does not answer."""
        with suppress(OSError):
            return peers_in(get(f"http://127.0.0.1:{METRICS_PORT}/debug/web/stats", self.netns).decode())
        return set()

    def finds(self, kind: str, reference: str) -> bool:
        """Whether it can serve some content, its own or another's.

        Args:
            kind: `manifests` or `blobs`.
            reference: digest or tag.
        """
        url = f"http://{self.address}/v2/{REPOSITORY}/{kind}/{reference}?ns={REGISTRY}"
        return _ask(urllib.request.Request(url, method="HEAD"), self.netns)

    def _answers(self, path: str) -> bool:
        return _ask(urllib.request.Request(f"http://{self.address}/{path}"), self.netns)


class Spegel(Mode):
    """Spegels, with the containerds of the site.

    Args:
        name: on the command line.
        site: with a containerd on each host.
    """

    control_port = ROUTER_PORT
    knows_others = True
    asks_upstream = False
    found_within_s = 60.0  # one that was alone looks for others every 10 s

    def __init__(self, name: str, site: Site) -> None:
        super().__init__(name, site)
        assert site.spegel is not None, "the site has no Spegel"
        self._program = site.spegel
        folders = {node.name: site.place(node) / "spegel" for node in site.nodes}
        self._ids = {host: make_key(folder) for host, folder in folders.items()}
        addresses = {
            node.name: f"/ip4/{node.address}/tcp/{ROUTER_PORT}/p2p/{self._ids[node.name]}" for node in site.nodes
        }
        self._spegels = {}
        for node in site.nodes:
            others = [address for host, address in addresses.items() if host != node.name]
            containerd = site.containerds[node.name]
            self._spegels[node.name] = SpegelServer(node, folders[node.name], containerd, others, self._program)
        self._carried = site.network.traffic()

    @property
    def processes(self) -> Mapping[str, Process]:
        """The Spegels, without the containerds."""
        return self._spegels

    def is_ready(self, host: Host) -> bool:
        """Whether its Spegel says so."""
        return self._spegels[host.name].is_ready()

    def known_by(self, host: Host) -> set[str]:
        """Those in the routing table of its Spegel, and its own."""
        spegel = self._spegels[host.name]
        if not spegel.is_up():
            return set()
        peers = spegel.peers()
        return {host.name} | {name for name, peer in self._ids.items() if peer in peers}

    def asked(self, host: Host) -> str:
        """Its own Spegel's."""
        return str(self._spegels[host.name].address)

    def hosts_dir(self, host: Host) -> Path:
        """Spegel's own command puts it before a mirror that is there already, upstream.

        Docker Hub's own address, which it names as the server, is out of reach, and is asked last.
        """
        folder = write_hosts(self.site.place(host) / "hosts", self.site.url, self.site.url)
        run(configuration_command(self._program, folder, f"http://{self.asked(host)}"))
        return folder

    def until_found(self, holder: Host, image: Image) -> None:
        """Wait until all that run can serve its tag, its manifest and its blobs."""
        wanted = [("manifests", image.name.rpartition(":")[2]), ("manifests", image.manifest)]
        wanted += [("blobs", digest) for digest in (image.config, *image.layers)]
        for spegel in self._spegels.values():
            if spegel.running:
                found = f"{spegel.name} to find what {holder.name} holds"
                wait_until(partial(_finds_all, spegel, wanted), found, self.found_within_s)

    def busiest(self) -> str | None:
        """The one whose host has sent most."""
        now = self.site.network.traffic()
        return max(self._spegels, key=lambda name: (now[name] - self._carried[name]).sent)

    def by_interfaces(self, carried: Mapping[str, Traffic]) -> Mapping[str, Sequence[float]]:
        """What upstream has sent, and the rest of what came to the hosts, each by the number of hosts."""
        sent = carried[UPSTREAM].sent
        received = sum(carried[node.name].received for node in self.site.nodes)
        count = len(self.site.nodes)
        return {UPSTREAM: [sent / count], MEMBERS: [max(0, received - sent) / count]}


def registry_command(
    program: str, address: str, folder: Path, containerd: Containerd, peers: Sequence[str]
) -> Sequence[str]:
    """Runs a Spegel in the foreground.

    Args:
        program: command or path.
        address: IP address at which others reach it.
        folder: with its key.
        containerd: whose content it serves.
        peers: the libp2p addresses of all others; none if it is to be alone for good.
    """
    return [
        *(program, "registry"),
        *("--registry-addr", f":{REGISTRY_PORT}", "--metrics-addr", f":{METRICS_PORT}"),
        *("--router-addr", f"{address}:{ROUTER_PORT}", "--data-dir", str(folder)),
        *("--containerd-sock", str(containerd.socket), "--containerd-namespace", "k8s.io"),
        *("--containerd-content-path", str(containerd.content_root)),
        *("--mirrored-registries", f"https://{REGISTRY}"),
        *("--bootstrap-kind", "static", *(("--static-bootstrap-peers", *peers) if peers else ())),
    ]


def configuration_command(program: str, folder: Path, mirror: str) -> Sequence[str]:
    """Makes containerd's files in a folder name a Spegel first.

    Args:
        program: command or path.
        folder: with a mirror of each registry already.
        mirror: URL of the Spegel.
    """
    return [
        *(program, "configuration", "--containerd-registry-config-path", str(folder), "--prepend-existing"),
        *("--mirrored-registries", f"https://{REGISTRY}", "--mirror-targets", mirror),
    ]


def make_key(folder: Path) -> str:
    """Make the key of a Spegel in the folder for its files, which is made too; return its peer id."""
    folder.mkdir(parents=True)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "private.key").write_bytes(pem)
    return peer_id(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def peer_id(public_key: bytes) -> str:
    """libp2p's id of an ed25519 key of 32 bytes: a multihash in base58, whose first byte 0 becomes a `1`."""
    number = int.from_bytes(_KEY_HEAD + public_key)
    digits = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return _ALPHABET[0] + digits


def peers_in(stats: str) -> set[str]:
    """The peer ids on Spegel's page of statistics."""
    return set(_PEER.findall(stats))


def _finds_all(spegel: SpegelServer, wanted: Collection[tuple[str, str]]) -> bool:
    return all(spegel.finds(kind, reference) for kind, reference in wanted)


def _ask(request: urllib.request.Request, netns: str | None) -> bool:
    """Whether the answer's status is 200."""

    def ask() -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with suppress(OSError), opener.open(request, timeout=_ASK_S):
            return True
        return False

    return inside(netns, ask)
