"""The registries that an agent may contact: what the operator names, and a built-in list of well-known public ones.

The client says which registry it wants. If the agent contacted every host that a client names, it would be an open
proxy into its own network. So a registry that is on neither list is refused.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

from ...errors import ConfigError, NameInvalid
from ...oci.reference import DOCKER_HUB, parse_registry
from .addresses import is_written_oddly
from .reached import Reached
from .trust import Trusted

_ALLOWED = "REGISTRY=URL, where the URL is http:// or https://, optional user:password@, host, optional :port and /path"
_PRINTABLE = re.compile(r"[!-~]+")
_ENCODED = "in a user or password, write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23, % as %25"
_BEFORE_USERINFO = re.compile(r"(?:[\w.-]+(?::\d+)?=)?(?:\w+://)?")
_HOST_AND_PATH = re.compile(r"(?:[\w.-]*|\[[\w:.]*\])(?::\d*)?(?:[/?#].*)?", re.DOTALL)
_AUTHORITY = re.compile(r"^[^/?#]*")
"""Host and port of a URL, with a user and password, behind its scheme. Source: RFC 3986, section 3.2."""
_ODD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry as images name it, and a URL to ask it at.

    Args:
        name: canonical, as in references: `docker.io`.
        url: without userinfo: `https://registry-1.docker.io`.
        username, password: for its basic or token authentication; both or neither.
        trusted: where it may lead beside public addresses.
        reached: how it is reached.
    """

    name: str
    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    trusted: tuple[Trusted, ...] = ()
    reached: Reached = field(default_factory=Reached)

    @classmethod
    def parse(cls, text: str) -> "Registry":
        """Read an operator's `REGISTRY=URL`, e.g. `docker.io=https://user:password@hub.example/prefix`.

        Userinfo is percent-decoded (RFC 3986, section 3.2.1). No error message contains the password.

        Raises:
            ConfigError: what is wrong, and what is allowed.
        """
        name, equals, url = text.partition("=")
        if not equals or not _PRINTABLE.fullmatch(text):
            raise _invalid(text, "is not of that form")
        if "@" in _AUTHORITY.sub("", url.partition("://")[2]):
            raise _invalid(text, f"an @ stands behind the end of the host; {_ENCODED}")
        try:
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2].lower()
            parse_registry(host)
            registry = parse_registry(name)
            is_odd = is_written_oddly(parts.hostname or "")
        except (NameInvalid, ValueError):
            raise _invalid(text, "the registry, or the URL's host, is no host name with an optional port") from None
        if is_odd:
            raise _invalid(text, "the URL's host is neither a name nor an address, as in 192.0.2.1 or [2001:db8::1]")
        if parts.scheme not in ("http", "https"):
            raise _invalid(text, "the URL's scheme is neither http nor https")
        if "?" in url or "#" in url:
            raise _invalid(text, f"the URL has a query or fragment; {_ENCODED}")
        userinfo = parts.netloc.rpartition("@")[0]
        if "@" in userinfo or _ODD_PERCENT.search(userinfo):
            raise _invalid(text, f"the user or password has an @ or a % that is not encoded; {_ENCODED}")
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
        if (username == "") != (password == "") or ":" in username:
            raise _invalid(text, "the URL has a user without a password, one without a user, or a user with a colon")
        return cls(registry, f"{parts.scheme}://{host}{parts.path.rstrip('/')}", username or None, password or None)

    @property
    def api(self) -> str:
        """The URL below which its repositories are.

        That is `/v2` below the URL, unless the URL's path already has a `v2`: the proxy projects of some registries
        come after it (`https://harbor.example/v2/hub-cache`), the repositories of others before.
        """
        return self.url if "v2" in self.url.split("/")[3:] else f"{self.url}/v2"


def _invalid(text: str, complaint: str) -> ConfigError:
    """The complaint, with no part of what may be a password: that may have any character, encoded or not."""
    before = _BEFORE_USERINFO.match(text)
    start = before.group() if before else ""
    _, at, rest = text.removeprefix(start).rpartition("@")
    shown = (start + ("***@" if at else "") + (rest if _HOST_AND_PATH.fullmatch(rest) else "***"))[:200]
    return ConfigError(f"upstream {shown!r}: {complaint}; allowed is {_ALLOWED}")


_PUBLIC = (
    "asia.gcr.io",
    "cgr.dev",
    "codeberg.org",
    "container-registry.oracle.com",
    "docker.elastic.co",
    "eu.gcr.io",
    "gcr.io",
    "ghcr.io",
    "gke.gcr.io",
    "icr.io",
    "k8s.gcr.io",
    "lscr.io",
    "mcr.microsoft.com",
    "mirror.gcr.io",
    "nvcr.io",
    "public.ecr.aws",
    "quay.io",
    "registry.access.redhat.com",
    "registry.fedoraproject.org",
    "registry.gitlab.com",
    "registry.k8s.io",
    "registry.opensuse.org",
    "registry.redhat.io",
    "registry.suse.com",
    "us.gcr.io",
)

_GOOGLE_LOCATIONS = (
    *("us", "europe", "asia", "africa-south1", "me-central1", "me-central2", "me-west1"),
    *(
        "asia-east1",
        "asia-east2",
        "asia-northeast1",
        "asia-northeast2",
        "asia-northeast3",
        "asia-south1",
        "asia-south2",
    ),
    *("asia-southeast1", "asia-southeast2", "asia-southeast3", "australia-southeast1", "australia-southeast2"),
    *("europe-central2", "europe-north1", "europe-north2", "europe-southwest1"),
    *(f"europe-west{number}" for number in (1, 2, 3, 4, 6, 8, 9, 10, 12)),
    *("northamerica-northeast1", "northamerica-northeast2", "northamerica-south1"),
    *("southamerica-east1", "southamerica-west1"),
    *("us-central1", "us-east1", "us-east4", "us-east5", "us-south1", "us-west1", "us-west2", "us-west3", "us-west4"),
)
"""Where Artifact Registry is, each with a host of its own, `us-docker.pkg.dev`. They are listed, and not told by a
pattern, so that clients cannot make up names: each registry that is asked costs connections and series of metrics.

Source: Google Cloud, "Artifact Registry locations".
"""

DOCKER_HUB_URL = "https://registry-1.docker.io"

PUBLIC_REGISTRIES = (
    Registry(DOCKER_HUB, DOCKER_HUB_URL),
    *(Registry(name, f"https://{name}") for name in _PUBLIC),
    *(Registry(name, f"https://{name}") for name in (f"{location}-docker.pkg.dev" for location in _GOOGLE_LOCATIONS)),
)
"""What may be contacted without being configured: hosts that serve images to the public, some after signing up."""


def known_registries(configured: Iterable[Registry]) -> dict[str, tuple[Registry, ...]]:
    """The URLs of all registries that may be contacted, by name, in the operator's order.

    What is configured replaces what is built in.
    """
    known = {registry.name: (registry,) for registry in PUBLIC_REGISTRIES}
    listed: dict[str, tuple[Registry, ...]] = {}
    for registry in configured:
        listed[registry.name] = (*listed.get(registry.name, ()), registry)
    return known | listed


def with_trust(configured: Iterable[Registry], trusted: Iterable[Trusted]) -> tuple[Registry, ...]:
    """Let registries lead where the operator says.

    Raises:
        ConfigError: one is no registry that this agent may contact.
    """
    configured, trusted = tuple(configured), tuple(trusted)
    known = known_registries(configured)
    for place in trusted:
        if place.registry not in known:
            raise ConfigError(f"upstream-trust: no such registry as {place.registry}; name it with --upstream as well")
    names = dict.fromkeys([*(registry.name for registry in configured), *(place.registry for place in trusted)])
    places = {name: tuple(place for place in trusted if place.registry == name) for name in names}
    return tuple(
        replace(registry, trusted=(*registry.trusted, *places[name])) for name in names for registry in known[name]
    )
