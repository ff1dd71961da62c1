"""What operators set: one table, read from flags, environment, a TOML file and defaults, in that order.

`SETTINGS` is the only place that names a setting: the command line makes its flags from it. Timings and bounds that no
operator has to touch are in `settings`.
"""

import difflib
import enum
import ipaddress
import re
import socket
import tomllib
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .access import PrivatePolicies, private_of
from .addresses import Address, ListenAddress, UnixAddress
from .channels import PeerTls
from .errors import ConfigError, DigestInvalid, NameInvalid, StartFailed
from .fileio import read_small
from .images.tag_policies import TagPolicies, policies_of
from .interfaces import address_towards, machine_addresses
from .logs import JSON, LOGFMT, TEXT
from .oci.names import COPIES_MAX, parse_name
from .oci.reference import parse_registry
from .routers import is_member_name
from .sources import UPSTREAM
from .sources.upstream.credentials import AuthPath, with_hosts
from .sources.upstream.reached import Proxies
from .sources.upstream.registries import Registry, with_trust
from .sources.upstream.tables import offline_in, registries_of
from .sources.upstream.trust import Trusted
from .tables import parse_size

_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_LEFT_OUT = re.compile(r"[a-z0-9.*?-]{1,200}(?::[0-9*?]{1,5})?/[a-zA-Z0-9._:/*?-]{1,400}")
_FOUR_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_UNIX_PATH_MAX = 107
"""Bounds the path of a Unix socket, in bytes; see unix(7)."""
_FILE_MAX_BYTES = 1024 * 1024
"""Bounds the file of settings, in bytes: an address a line, of every node of a large cluster, has some 50 KiB."""
CREDENTIAL = "skvaller-upstream-auth"
"""Name of the systemd credential with the passwords of registries (systemd.exec(5), LoadCredential)."""

ALL = "all"
"""Stands for all registries."""
TABLES = "registry"
TAG_TABLES = "tag"
PRIVATE_TABLES = "private"
"""The keys of the TOML file's tables of registries, and of policies for tags and for private images; only there can
they be written."""
_PREFIX = "SKVALLER_"
_NO_SETTINGS = ("SKVALLER_CONFIG", "SKVALLER_AGENT")
"""Variables that the command line reads itself."""
_OF_KUBERNETES = re.compile(r"SKVALLER_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)")
"""Variables that Kubernetes gives every container about a service whose name begins with `skvaller`.
Source: Kubernetes, "Service", "Environment variables"."""

_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(ms|s)")
_SECONDS = {"ms": 0.001, "s": 1.0}
_DURATION_MAX_S = 60
"""Bounds a time that an operator sets, s: a client that waits longer is gone."""


class Routing(enum.StrEnum):
    """How nodes find out who has what; the value stands in the settings."""

    SWIM = "swim"
    """By gossip about Bloom filters."""
    EXACT = "exact"
    """By gossip about the keys themselves, for comparison."""
    DHT = "dht"
    """By a distributed hash table, for comparison."""


class Push(enum.StrEnum):
    """Who may push to the client endpoint with programs such as `docker push`; the value stands in the settings."""

    OFF = "off"
    """Nobody; but this project's own commands may, from this machine or with a password."""
    LOCAL = "local"
    """Clients of this machine, over loopback or a Unix socket."""
    KEY = "key"
    """These, and from elsewhere whoever logs in with a password that was made with a key of the cluster."""
    ANY = "any"
    """Whoever reaches the client endpoint."""


@dataclass(frozen=True, slots=True)
class RegistryListener:
    """An address at which clients ask for images of one registry, which their requests need not name."""

    registry: str
    address: ListenAddress


def parse_address(text: str) -> Address:
    """Read `HOST:PORT`, with brackets around an IPv6 address."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("HOST:PORT, with an IPv6 address in brackets")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("HOST:PORT with a port from 1 to 65535, e.g. 127.0.0.1:5000 or [::1]:5000")
    return Address(host, int(port))


def parse_bind(text: str) -> Address:
    """Read an address to listen on: an IP address and a port."""
    address = parse_address(text)
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        raise ValueError("IP:PORT, an address of this machine, e.g. 127.0.0.1:5000 or 0.0.0.0:5000") from None
    return address


def parse_listen(text: str) -> ListenAddress:
    """Read an address for clients: IP:PORT, or `unix:/PATH`, with `?mode=` and an octal number if it is not 0600."""
    if not text.startswith("unix:"):
        return parse_bind(text)
    path, asked, mode = text.removeprefix("unix:").partition("?mode=")
    fits = len(path.encode()) <= _UNIX_PATH_MAX and path.isprintable()
    if not path.startswith("/") or path.endswith("/") or not fits:
        raise ValueError(f"unix: and an absolute path of at most {_UNIX_PATH_MAX} bytes, e.g. unix:/run/skvaller.sock")
    if asked and not re.fullmatch("0?[67][0-7][0-7]", mode):
        raise ValueError("a mode in octal digits that lets the owner read and write, e.g. ?mode=0660")
    return UnixAddress(path, int(mode, 8)) if asked else UnixAddress(path)


def parse_registry_listener(text: str) -> RegistryListener:
    """Read a registry and an address for its clients: `docker.io=127.0.0.1:5002`."""
    name, equals, address = text.partition("=")
    if not equals:
        raise ValueError("REGISTRY=IP:PORT or REGISTRY=unix:PATH, e.g. docker.io=127.0.0.1:5002")
    try:
        registry = parse_registry(name)
    except NameInvalid as error:
        raise ValueError(f"a registry before the address: {error}") from None
    return RegistryListener(registry, parse_listen(address))


def parse_host_name(text: str) -> str:
    """Read a name that clients use for this node in the Host header."""
    name = text.lower().removesuffix(".")
    if not _HOST_NAME.fullmatch(name):
        raise ValueError("a host name without a port, e.g. mirror.example.com")
    return name


def parse_seed(text: str) -> str:
    """Read a node to join through: a host, with or without a port."""
    if text.count(":") == 1 or "]:" in text:
        return str(parse_address(text))
    if not text or any(character in text for character in "/ @?#"):
        raise ValueError("HOST or HOST:PORT of another agent's gossip address")
    return text


def parse_duration(text: str) -> float:
    """Read a time with a unit, s: 20ms, 5s, 1.5s."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= _DURATION_MAX_S:
        raise ValueError(f"a time such as 20ms or 5s, of at most {_DURATION_MAX_S} s")
    return seconds


def parse_pin(text: str) -> tuple[str, int | None]:
    """Read what is to be kept: a canonical name, and the copies; 0 for all, None for the usual number."""
    name, equals, copies = text.partition("=")
    if equals and copies != ALL and not (copies.isascii() and copies.isdigit() and 0 < int(copies) <= COPIES_MAX):
        raise ValueError(f"a number of copies from 1 to {COPIES_MAX}, or all, after the name")
    try:
        canonical = parse_name(name).text
    except (NameInvalid, DigestInvalid) as error:
        raise ValueError(f"an image or a pattern: {error}") from None
    return canonical, None if not equals else 0 if copies == ALL else int(copies)


def parse_left_out(text: str) -> str:
    """Read a pattern of images that are left to their registries."""
    if not _LEFT_OUT.fullmatch(text):
        raise ValueError("REGISTRY/REPOSITORY or REGISTRY/REPOSITORY:TAG, where * stands for any characters")
    return text


def parse_bootstrap(text: str) -> str:
    """Read a node of the DHT to begin with."""
    return str(parse_address(text))


def _cache_size(text: str) -> int:
    size = parse_size(text)
    if 0 < size < 64 * 2**20:
        raise ValueError("a size of at least 64MiB, such as 20GiB, or 0 to keep nothing")
    return size


def _host(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("an IP address under which the other nodes reach this one") from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError("an IP address under which the other nodes reach this one")
    return text


def _name(text: str) -> str:
    if not is_member_name(text):
        raise ValueError("1 to 63 letters, digits and . _ -, beginning and ending with a letter or digit")
    return text


def _node_name(text: str) -> str:
    if text == UPSTREAM:
        raise ValueError("another name: this one stands for the registries, in logs and between members")
    if ".." in text:
        raise ValueError("a name without two dots in a row, which TLS cannot reach")
    if _FOUR_NUMBERS.fullmatch(text) and not _is_ip(text):  # TLS would look for the address that it seems to be
        raise ValueError("a name that is no IP address, or is one as it is usually written, which TLS can reach")
    return _name(text)


def _is_ip(text: str) -> bool:
    try:
        return ipaddress.ip_address(text) is not None
    except ValueError:
        return False


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("a network such as 10.0.0.0/8 or fd00::/8, without host bits") from None


def _one_of(*words: str) -> Callable[[str], str]:
    """A parser of one of a few words."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(", ".join(words[:-1]) + f" or {words[-1]}")
        return text.lower()

    return parse


@dataclass(frozen=True, slots=True)
class Offline:
    """The registries that are never asked; `in` tells which.

    Args:
        names: canonical names of registries; `all` for all of them.
    """

    names: Collection[str] = frozenset()

    def __contains__(self, registry: object) -> bool:
        return registry in self.names or ALL in self.names


def _offline(text: str) -> str:
    try:
        return ALL if text == ALL else parse_registry(text)
    except NameInvalid:
        raise ValueError(f"a registry, as in docker.io, or {ALL}") from None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Args:
        name: as in the TOML file and, with `--`, on the command line; the environment has SKVALLER_… of it.
        metavar: stands for the value in the help.
        parse: turns its text into a value; its ValueError says what is allowed.
        default: its text if nobody sets it; None if that depends on others, as the help says.
        help: what it is for.
        many: whether it may be given several times (in the environment: separated by commas).
    """

    name: str
    metavar: str
    parse: Callable[[str], Any]
    default: str | None
    help: str
    many: bool = False

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return _PREFIX + self.name.upper().replace("-", "_")

    @property
    def attribute(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")


_SEEN_BY_ALL = (
    "--upstream has a password, which every user of this machine sees in `ps`: put it into --upstream-auth, into the "
    "variable SKVALLER_UPSTREAM, or into the file of --config"
)

SETTINGS: tuple[Setting, ...] = (
    Setting("name", "NAME", _node_name, None, "This node's name, unique in the cluster. Default: the host name."),
    Setting("data-dir", "DIR", Path, "/var/lib/skvaller", "Folder of the cache; made if missing."),
    Setting(
        "listen", "IP:PORT|unix:PATH", parse_listen, "127.0.0.1:5000",
        "Client endpoint: where this node's runtime asks; may be repeated. A Unix socket has the mode 0600, or what "
        "unix:/PATH?mode=0660 says.", many=True,
    ),
    Setting(
        "listen-for", "REGISTRY=IP:PORT|unix:PATH", parse_registry_listener, "",
        "Another client endpoint, for clients that do not say which registry they mean: there it is this one, e.g. "
        "docker.io=127.0.0.1:5002; may be repeated.", many=True,
    ),
    Setting(
        "push", "WHO", _one_of(*Push), "off",
        "Who may push to the client endpoint, with docker push and the like: off, nobody; local, clients of this "
        "machine, over loopback or a Unix socket; key, these, and from elsewhere whoever logs in with what `skvaller "
        "token` prints; any, whoever reaches it.",
    ),
    Setting(
        "leave-out", "PATTERN", parse_left_out, "",
        "Images that are left to their registries: a client is told 404 at once and asks the registry itself, e.g. "
        "registry.example.com/* or */*:latest, where * stands for any characters; may be repeated.", many=True,
    ),
    Setting(
        "listen-api", "IP:PORT|unix:PATH", parse_listen, None,
        "Where /api/v1 and /metrics are, if not on the client endpoint, which then serves images alone.",
    ),
    Setting(
        "metrics", "IP:PORT", parse_bind, None,
        "Where /metrics, /healthz and /readyz alone are as well, for who scrapes from another machine: these name no "
        "image and no member, and everybody who reaches the address is answered.",
    ),
    Setting(
        "allow-host", "NAME", parse_host_name, "",
        "A name by which clients call this node, in the Host header; may be repeated. Its IP addresses, localhost, its "
        "--name and its host name are always allowed.", many=True,
    ),
    Setting(
        "peer", "IP:PORT", parse_bind, None,
        "Peer endpoint: where other nodes ask. Default: 0.0.0.0:5001 with --key-file, else 127.0.0.1:5001.",
    ),
    Setting(
        "gossip", "IP:PORT", parse_bind, None,
        "Gossip, UDP and TCP. Default: 0.0.0.0:7946 with --key-file, else 127.0.0.1:7946.",
    ),
    Setting(
        "advertise", "IP", _host, None,
        "Address under which the others reach this node. Default: that of --peer, or the machine's main "
        "address; without a default route the one that reaches the nodes of --join, or the only one.",
    ),
    Setting(
        "join", "HOST[:PORT]", parse_seed, "",
        "Gossip address of any other node, or a name for all of them; may be repeated.", many=True,
    ),
    Setting(
        "dht", "IP:PORT", parse_bind, None,
        "The DHT, TCP. Default: 0.0.0.0:4001 with --key-file, else 127.0.0.1:4001. The key does not guard it.",
    ),
    Setting(
        "bootstrap", "HOST:PORT", parse_bootstrap, "", "DHT address of any other node; may be repeated.", many=True
    ),
    Setting(
        "resolve-timeout", "TIME", parse_duration, "20ms",
        "How long a request waits for the DHT to name a holder. Spegel waits 20ms by default, and 5s in K3s.",
    ),
    Setting(
        "upstream", "REGISTRY=URL", Registry.parse, "",
        "Where a registry is fetched from, e.g. registry.example.com=http://10.0.0.5:5000; may be repeated. Well-known "
        "public registries need no entry. A password belongs into --upstream-auth; user:password@ before the host "
        "works too, with @ : / ? # % and commas percent-encoded (%40 %3A %2F %3F %23 %25 %2C), but every user of the "
        "machine sees a command line.", many=True,
    ),
    Setting(
        "upstream-auth", "FILE", lambda text: AuthPath(Path(text)), None,
        "Credentials of registries, in the JSON of Docker's config.json, podman's auth.json and Kubernetes' "
        "dockerconfigjson, with credential programs (credHelpers, credsStore) and identity tokens; only its owner may "
        f"read it; a change counts at once. Default: the credential {CREDENTIAL} that systemd hands over, if there is "
        "one.",
    ),
    Setting(
        "upstream-trust", "REGISTRY=WHERE", Trusted.parse, "",
        "Where a registry may lead, by a redirect or as its token service, if that is no public address: a host with "
        "or without a port, or a network, as in registry.example.com=minio.example.net:9000 or =10.2.0.0/16; may be "
        "repeated. A registry in a private network leads to hosts of its own domain there without it.", many=True,
    ),
    Setting(
        "upstream-proxy", "URL|none", Proxies.parse, None,
        "HTTP proxy through which registries are reached; it looks names up. Default: what HTTPS_PROXY, HTTP_PROXY and "
        "NO_PROXY say.",
    ),
    Setting(
        "offline", "REGISTRY|all", _offline, "",
        "Never ask this registry, whatever happens: what no member holds is not there; may be repeated. all: no packet "
        "leaves for any registry, and no name of one is looked up.", many=True,
    ),
    Setting(
        "containerd", "ADDRESS", str, None,
        "Serve what this containerd holds, e.g. /run/containerd/containerd.sock. Default: do not.",
    ),
    Setting("containerd-namespace", "NAME", str, "k8s.io", "containerd's namespace; Kubernetes uses k8s.io."),
    Setting(
        "repair", "DIR", Path, None,
        "Write again what `skvaller configure` wrote into files of runtimes, when somebody takes it away: / on a host, "
        "in a container the folder that has the host's /. Default: do not.",
    ),
    Setting(
        "cache-size", "SIZE", _cache_size, "20GiB",
        "Bound on the cache; the least recently used content goes first. 0: no content is written to disk, it passes "
        "through memory; for nodes with SD cards.",
    ),
    Setting(
        "key-file", "FILE", Path, None,
        "The cluster's keys, 32 bytes each in base64 or hex, one a line; the first one seals. Default: no key.",
    ),
    Setting(
        "sealing", "STEP", _one_of("allow", "prefer", "require"), "require",
        "With --key-file: allow sends plain and accepts both, prefer sends sealed and accepts both, require sends and "
        "accepts only sealed. These three steps, each on all nodes, give a running cluster its first key.",
    ),
    Setting(
        "peer-tls", "STEP", _one_of(*PeerTls), None,
        "TLS between members: on sends and accepts nothing else, prefer sends it to members that speak it and accepts "
        "both, off sends and accepts clear text, signed with the key. A running cluster goes from off to on, or back, "
        "through prefer on all nodes. Default: on with --key-file (prefer while sealing is not require), else off.",
    ),
    Setting(
        "tls-cert", "FILE", Path, None,
        "This node's certificate from your own authority, in PEM, with its --name as a DNS name. Default: certificates "
        "made from the key file.",
    ),
    Setting("tls-key", "FILE", Path, None, "The key of --tls-cert, in PEM, which only its owner can read."),
    Setting("tls-ca", "FILE", Path, None, "Certificates of the authorities whose members are believed, in PEM."),
    Setting(
        "tls-deny", "NAME", _name, "",
        "A member that is not believed although its certificate is valid; may be repeated. For --tls-ca.", many=True,
    ),
    Setting("cluster", "NAME", _name, "default", "Name of the cluster; agents of another cluster are ignored."),
    Setting(
        "router", "HOW", _one_of(*Routing), "swim",
        "How nodes find out who has what; the same on all. swim gossips. exact and dht are for comparison with it and "
        "for nothing else. exact gossips about the keys themselves, 8 bytes each, instead of about Bloom filters. dht "
        "is a Kademlia with Spegel's settings, which knows no members, so each node fetches from upstream itself what "
        "no other has yet; it needs pip install 'skvaller[dht]'.",
    ),
    Setting(
        "gossip-profile", "PROFILE", _one_of("lan", "wan", "fast", "local"), "lan",
        "lan: a dead node is found in 6 to 10 s; fast: in 2 to 4, at twice the packets and with less patience for "
        "stalls; wan: for nodes far apart; local: for nodes on one machine.",
    ),
    Setting(
        "gossip-allow", "NETWORK", _network, "",
        "Listen only to nodes of this network, e.g. 10.0.0.0/8; may be repeated. Default: to all.", many=True,
    ),
    Setting(
        "pin", "REF[=COPIES]", parse_pin, "",
        "An image that the cluster keeps, as with `skvaller pin`, for as long as this stands here: a tag, a digest, or "
        "a pattern such as ghcr.io/org/*:v1.*, with a number of copies, or all, if not two; may be repeated.",
        many=True,
    ),
    Setting(
        "home", "WHEN", _one_of("auto", "always", "never"), "auto",
        "Whether this node fetches pieces of images for the others: auto does, unless they find it much slower than "
        "other nodes; never suits a slow or metered link.",
    ),
    Setting(
        "tags", "HOW", _one_of("sample", "verify", "trust"), "sample",
        "Whose word counts for what a tag means upstream: sample asks the tag's home, and asks upstream itself what is "
        "new or has changed, and now and then the rest; verify always asks upstream itself; trust believes the home: "
        "upstream is asked once for all nodes.",
    ),
    Setting(
        "denied-tags", "HOW", _one_of("refuse", "serve"), "refuse",
        "What a client gets if upstream answers 404, 401 or 403 for a tag that the cluster holds: refuse says so, "
        "serve gives it what is held, with a warning.",
    ),
    Setting(
        "log-level", "LEVEL", _one_of("debug", "info", "warning", "error"), "info", "debug, info, warning or error."
    ),
    Setting(
        "log-format", "FORMAT", _one_of(LOGFMT, JSON, TEXT), LOGFMT,
        "How a line of the log is written: logfmt, json, or text for people.",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """An agent's settings, each as its `Setting` describes it."""

    name: str
    data_dir: Path
    listen: tuple[ListenAddress, ...]
    listen_for: tuple[RegistryListener, ...]
    push: Push
    leave_out: tuple[str, ...]
    listen_api: ListenAddress | None
    metrics: Address | None
    allow_host: tuple[str, ...]
    peer: Address
    gossip: Address
    advertise: str | None
    join: tuple[str, ...]
    dht: Address
    bootstrap: tuple[str, ...]
    resolve_timeout: float
    upstream: tuple[Registry, ...]
    upstream_auth: AuthPath | None
    upstream_trust: tuple[Trusted, ...]
    upstream_proxy: Proxies
    offline: Container[str]
    containerd: str | None
    containerd_namespace: str
    repair: Path | None
    cache_size: int
    key_file: Path | None
    sealing: str
    peer_tls: PeerTls
    tls_cert: Path | None
    tls_key: Path | None
    tls_ca: Path | None
    tls_deny: tuple[str, ...]
    cluster: str
    router: Routing
    gossip_profile: str
    gossip_allow: tuple[str, ...]
    pin: tuple[tuple[str, int | None], ...]
    home: Literal["auto", "always", "never"]
    tags: Literal["sample", "verify", "trust"]
    denied_tags: Literal["refuse", "serve"]
    tag_policies: TagPolicies
    private: PrivatePolicies
    log_level: str
    log_format: str
    warnings: tuple[str, ...] = ()
    """What the operator should know about how they were set."""

    @property
    def discovery(self) -> tuple[str, Address]:
        """The setting of the address at which nodes find each other, and that address."""
        return ("dht", self.dht) if self.router is Routing.DHT else ("gossip", self.gossip)

    @property
    def first_nodes(self) -> tuple[str, ...]:
        """Where this node begins to look for others."""
        return self.bootstrap if self.router is Routing.DHT else self.join

    @property
    def client_url(self) -> str | None:
        """Where runtimes of this machine find the client endpoint; None if it is at Unix sockets alone."""
        return _url_here(self.listen)

    @property
    def page_url(self) -> str | None:
        """Where a browser on this machine finds the status page; None if it is at Unix sockets alone."""
        url = _url_here(self.listen if self.listen_api is None else (self.listen_api,))
        return None if url is None else f"{url}/"

    @property
    def exposed(self) -> list[str]:
        """The settings that let other machines in."""
        return [name for name, address in (("peer", self.peer), self.discovery) if not address.loopback]


def _url_here(listen: Iterable[ListenAddress]) -> str | None:
    """The URL at which this machine reaches the first of these addresses that speaks TCP."""
    return next((f"http://{it.reached_here}" for it in listen if isinstance(it, Address)), None)


def advertised_address(config: AgentConfig) -> str:
    """The IP address under which the other nodes reach this one: the operator's, or the machine's main one.

    Where no route leads to everywhere, that is the address from which the seeds are reached, or the only one there is.

    Raises:
        StartFailed: there is no such address, or several.
    """
    if config.advertise:
        return config.advertise
    if not ipaddress.ip_address(config.peer.host).is_unspecified:
        return config.peer.host
    # The addresses are those that RFC 5737 and RFC 3849 reserve for documentation: they are routed as any other.
    family, elsewhere = (socket.AF_INET6, "2001:db8::1") if ":" in config.peer.host else (socket.AF_INET, "192.0.2.1")
    main = address_towards(elsewhere, family)
    if main is not None:
        return main
    towards_seeds = {address_towards(_seed_host(seed), family) for seed in config.first_nodes}
    all_of_it = machine_addresses(family)
    candidates = [address for address in all_of_it if address in towards_seeds] or all_of_it
    if len(candidates) != 1:
        there_are = f"several addresses, {', '.join(candidates)}" if candidates else "no address that others can reach"
        raise StartFailed(
            f"advertise: this machine has {there_are}, and no default route; name the address under which the other "
            "nodes reach this one with --advertise"
        )
    return candidates[0]


def _seed_host(seed: str) -> str:
    """The host of a node to join through."""
    return parse_address(seed).host if seed.count(":") == 1 or "]:" in seed else seed.strip("[]")


def load(
    flags: Mapping[str, str | Sequence[str] | None], environment: Mapping[str, str], file: Path | None
) -> AgentConfig:
    """Read all settings of an agent.

    Args:
        flags: by `Setting.name`, those given on the command line.
        environment: the process's.
        file: a TOML file, or None.

    Raises:
        ConfigError: names the setting, where it was set, the value, and what is allowed.
    """
    written = _read_file(file) if file is not None else {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        given: Any = setting.default
        origin = "default"
        for source, value in (
            (f"--{setting.name}", flags.get(setting.name) or None),
            (setting.variable, environment.get(setting.variable)),
            (f"{setting.name} in {file}", written.get(setting.name)),
        ):
            if value is not None:
                given, origin = value, source
                break
        values[setting.attribute] = _value(setting, given, origin)
        origins[setting.name] = origin
    everywhere = "0.0.0.0" if values["key_file"] else "127.0.0.1"
    host_name = socket.gethostname().partition(".")[0]
    values["name"] = values["name"] or _parsed(SETTINGS[0], host_name, "the host name, for want of --name")
    values["peer"] = values["peer"] or Address(everywhere, 5001)
    values["gossip"] = values["gossip"] or Address(everywhere, 7946)
    values["dht"] = values["dht"] or Address(everywhere, 4001)
    values["router"] = Routing(values["router"])
    values["push"] = Push(values["push"])
    values["peer_tls"] = PeerTls(values["peer_tls"] or _usual_tls(values["key_file"], values["sealing"]))
    has_password = any(registry.password is not None for registry in values["upstream"])
    warnings = (_SEEN_BY_ALL,) if has_password and origins["upstream"] == "--upstream" else ()
    values["upstream"] = _with_tables(values["upstream"], written.get(TABLES, []))
    values["offline"] = Offline({*values["offline"], *offline_in(written.get(TABLES, []))})
    values["tag_policies"] = policies_of(written.get(TAG_TABLES, []))
    values["private"] = private_of(written.get(PRIVATE_TABLES, []))
    values["upstream_proxy"] = values["upstream_proxy"] or Proxies.of_environment(environment)
    values["upstream_auth"] = auth = values["upstream_auth"] or _handed_over(environment)
    values["upstream"] = values["upstream"] if auth is None else with_hosts(values["upstream"], auth.read())
    values["upstream"] = with_trust(values["upstream"], values["upstream_trust"])
    config = AgentConfig(**values, warnings=warnings)
    _check(config)
    return config


def refuse_misspelt(environment: Mapping[str, str]) -> None:
    """Raise ConfigError for a variable that looks like a setting and is none: it would be left out in silence."""
    known = [*(setting.variable for setting in SETTINGS), *_NO_SETTINGS]
    for variable in environment:
        if variable.startswith(_PREFIX) and variable not in known and not _OF_KUBERNETES.fullmatch(variable):
            raise ConfigError(f"{variable}: no such setting; {_similar(variable, known)}")


def _similar(word: str, known: Sequence[str]) -> str:
    """Which words may be meant by one that is not known."""
    by_rest = {name.removeprefix(_PREFIX): name for name in known}
    close = difflib.get_close_matches(word.removeprefix(_PREFIX), by_rest, n=1)
    return f"is {by_rest[close[0]]} meant?" if close else f"there are {', '.join(known)}"


def _with_tables(named: tuple[Registry, ...], tables: Any) -> tuple[Registry, ...]:
    """The registries of the file's tables, but for those that --upstream names as well, and these."""
    names = {registry.name for registry in named}
    return (*(registry for registry in registries_of(tables) if registry.name not in names), *named)


def _handed_over(environment: Mapping[str, str]) -> AuthPath | None:
    """The credentials of registries that systemd hands over, if it does."""
    credential = Path(environment.get("CREDENTIALS_DIRECTORY", ""), CREDENTIAL)
    if not environment.get("CREDENTIALS_DIRECTORY") or not credential.exists():
        return None
    return AuthPath(credential, guarded=True)


def _check(config: AgentConfig) -> None:
    """Relations between settings."""
    if config.key_file is None and config.sealing != "require":
        raise ConfigError(f"sealing: {config.sealing} means nothing without a key; give --key-file too")
    _check_tls(config)
    _check_router(config)
    _check_private(config)
    if config.push is Push.KEY and config.key_file is None:
        raise ConfigError("push: key needs the cluster's key, with which passwords are made; give --key-file too")
    if not config.listen:
        raise ConfigError("listen: no address; give IP:PORT or unix:PATH, e.g. 127.0.0.1:5000")
    used: list[tuple[ListenAddress, str]] = []
    given = [("listen", address) for address in config.listen]
    given += [("listen-for", listener.address) for listener in config.listen_for]
    given += [("listen-api", config.listen_api)] if config.listen_api is not None else []
    given += [("metrics", config.metrics)] if config.metrics is not None else []
    finds, at = config.discovery
    for name, address in (*given, ("peer", config.peer), (finds, at)):
        for other, its_name in used:
            if _collide(address, other):
                raise ConfigError(f"{name}: {address} is taken by --{its_name} {other}; give each a port of its own")
        used.append((address, name))
    if bool(config.peer.loopback) != bool(at.loopback):
        raise ConfigError(
            f"peer: {config.peer} and {finds}: {at}; either both on loopback or both reachable by the others"
        )


def _check_private(config: AgentConfig) -> None:
    """Credentials of clients mean nothing where whoever reaches the peer endpoint is a member."""
    if config.private.has_checked and config.key_file is None and not config.peer.loopback:
        raise ConfigError(
            f"private: the policy checked needs a cluster key, for without one whoever reaches {config.peer} is given "
            "everything as a member; give --key-file, or the policy off"
        )


def _check_router(config: AgentConfig) -> None:
    """Where a node looks for others has to suit how it does."""
    if config.router is Routing.DHT and config.join:
        raise ConfigError(
            "join: router dht does not gossip; give --bootstrap HOST:PORT, the DHT address of another node"
        )
    if config.router is not Routing.DHT and config.bootstrap:
        raise ConfigError(f"bootstrap: router {config.router} gossips; give --join HOST:PORT, or --router dht")


def _collide(one: ListenAddress, other: ListenAddress) -> bool:
    """Whether a machine cannot listen at both: they are the same, or one of them is every address, with this port."""
    if isinstance(one, UnixAddress) or isinstance(other, UnixAddress):
        return isinstance(one, UnixAddress) and isinstance(other, UnixAddress) and one.path == other.path
    return one.port == other.port and (one.host == other.host or one.everywhere or other.everywhere)


def _usual_tls(key_file: Path | None, sealing: str) -> PeerTls:
    """What members speak if nobody says: TLS where all have a key, and both while some may have none."""
    if key_file is None:
        return PeerTls.OFF
    return PeerTls.ON if sealing == "require" else PeerTls.PREFER


def _check_tls(config: AgentConfig) -> None:
    """Relations between the settings of TLS."""
    files = {"tls-cert": config.tls_cert, "tls-key": config.tls_key, "tls-ca": config.tls_ca}
    given = [name for name, file in files.items() if file is not None]
    if config.key_file is None:
        if given:
            raise ConfigError(f"{given[0]}: gossip would still believe anybody; give --key-file as well")
        if config.peer_tls is not PeerTls.OFF:
            raise ConfigError(f"peer-tls: {config.peer_tls} needs the cluster's key; give --key-file too")
    if given and len(given) < len(files):
        lacking = ", ".join(f"--{name}" for name in files if name not in given)
        raise ConfigError(f"{given[0]}: a certificate needs its key and an authority; give {lacking} too")
    if given and config.peer_tls is PeerTls.OFF:
        raise ConfigError(f"peer-tls: off leaves --{given[0]} without a use; give on or prefer, or leave the files out")
    if config.tls_deny and not given:
        raise ConfigError("tls-deny: whoever has the cluster's key can take any name; it needs --tls-ca")
    if config.peer_tls is PeerTls.ON and config.key_file is not None and config.sealing != "require":
        raise ConfigError(f"peer-tls: on needs sealing require, and that is {config.sealing}; give prefer until then")


def _value(setting: Setting, given: Any, origin: str) -> Any:
    if setting.many:
        if isinstance(given, str):
            given = [part.strip() for part in given.split(",") if part.strip()]
        return tuple(_parsed(setting, part, origin) for part in given)
    return None if given is None else _parsed(setting, given, origin)


def _parsed(setting: Setting, text: str, origin: str) -> Any:
    try:
        return setting.parse(text)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{origin}: {text!r} is not allowed; give {error}") from None


def _read_toml(file: Path) -> tuple[dict[str, Any], bool]:
    """What a TOML file has, and whether others than its owner may read it."""
    try:
        content, is_open_to_others = read_small(file, _FILE_MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"config: cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"config: {error}") from None
    try:
        return tomllib.loads(content.decode()), is_open_to_others
    except (ValueError, RecursionError) as error:  # of syntax, UTF-8, long numbers, deep nesting
        raise ConfigError(f"config: {file} is not TOML: {error}") from None


def _read_file(file: Path) -> dict[str, Any]:
    """Read a TOML file whose keys are settings, as text, numbers or lists of texts; and the tables of registries."""
    written, is_open_to_others = _read_toml(file)
    known = {setting.name: setting for setting in SETTINGS}
    for key, value in written.items():
        if key in (TABLES, TAG_TABLES, PRIVATE_TABLES):
            continue
        if key not in known:
            raise ConfigError(
                f"{key} in {file}: no such setting; {_similar(key, (*known, TABLES, TAG_TABLES, PRIVATE_TABLES))}"
            )
        wanted = "a list of texts" if known[key].many else "a text"
        if known[key].many and isinstance(value, str):
            written[key] = [value]
        elif known[key].many and not (isinstance(value, list) and all(isinstance(part, str) for part in value)):
            raise ConfigError(f"{key} in {file}: it must be {wanted}")  # without the value: there may be a password
        elif not known[key].many and isinstance(value, int) and not isinstance(value, bool):
            written[key] = str(value)
        elif not known[key].many and not isinstance(value, str):
            raise ConfigError(f"{key} in {file}: {value!r} is not allowed; give {wanted}")
    tables = registries_of(written.get(TABLES, []))
    has_password = any(registry.password is not None for registry in tables)
    if is_open_to_others and (has_password or any("@" in text for text in written.get("upstream", ()))):
        raise ConfigError(f"config: {file} has a password and can be read by others: run chmod 600 {file}")
    return written
