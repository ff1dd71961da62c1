"""Names of images: registry, repository, and a tag or digest.

A reference is always canonical here: `docker.io/library/nginx:1.27`, however the client spelt it. A request names its
registry in one of three ways: `?ns=` (containerd), the first component of the path (podman, CRI-O, skopeo), or not at
all, which means Docker Hub (Docker's registry-mirrors). BuildKit, and containerd with `override_path`, do both.

Sources: OCI distribution-spec, "Pulling manifests" (grammar of <name> and <reference>); distribution/reference for
the domain and for Docker Hub's aliases.
"""

import hashlib
import re
from dataclasses import dataclass

from ..errors import NameInvalid
from .digest import Digest

DOCKER_HUB = "docker.io"
_HUB_ALIASES = {"docker.io", "index.docker.io", "registry-1.docker.io"}

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?", re.IGNORECASE)
_ESCAPED_PORT = re.compile(r"(.+)_([0-9]{1,5})")
_NAME_MAX_CHARACTERS = 255


def parse_registry(text: str) -> str:
    """Read a registry's host and optional port; raise NameInvalid for anything else.

    Returns:
        The lower-case host with its port if it has one; Docker Hub's aliases all become `docker.io`.
    """
    match = _REGISTRY.fullmatch(text) if len(text) <= _NAME_MAX_CHARACTERS else None
    if match is None or (match[1] is not None and not 0 < int(match[1]) < 65536):
        raise NameInvalid(f"registry {text[:100]!r} is not a host name with an optional port")
    registry = text.lower()
    return DOCKER_HUB if registry in _HUB_ALIASES else registry


def is_tag(text: str) -> bool:
    """Whether a text can be a tag."""
    return _TAG.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Repository:
    """A canonical repository, e.g. registry `docker.io`, path `library/nginx`."""

    registry: str
    path: str

    @classmethod
    def parse(cls, name: str, ns: str | None = None) -> "Repository":
        """Read the name part of a request's path.

        Args:
            name: what stands between `/v2/` and `/manifests/` or `/blobs/`.
            ns: the request's `ns` parameter, if it has one. If the name begins with the registry as well, that is
                dropped.

        Raises:
            NameInvalid: either is not in the specification's grammar.
        """
        if ns is not None:
            registry, path = parse_registry(ns), name
        else:
            registry, path = _split_registry(name)
        path = _without_registry(path, registry)
        if len(path) > _NAME_MAX_CHARACTERS or not _REPOSITORY.fullmatch(path):
            raise NameInvalid(
                f"repository {path[:100]!r} is not lower-case path components of letters, digits and . _ -, "
                f"{_NAME_MAX_CHARACTERS} characters at most"
            )
        if registry == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        return cls(registry, path)

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"


def _split_registry(name: str) -> tuple[str, str]:
    """Tell a leading registry from a first component."""
    first, slash, rest = name.partition("/")
    if not slash or not _looks_like_registry(first):
        return DOCKER_HUB, name
    return _written_registry(first), rest


def _without_registry(path: str, registry: str) -> str:
    """A path without its first components as long as these name its own registry."""
    first, slash, rest = path.partition("/")
    if not slash or not (_looks_like_registry(first) or ":" in registry):
        return path
    try:
        is_prefix = _written_registry(first) == registry
    except NameInvalid:  # a component of a path need not be a host
        return path
    return _without_registry(rest, registry) if is_prefix else path


def _looks_like_registry(component: str) -> bool:
    """Whether a first component is a registry, as container tools tell: by a dot, a port or `localhost`."""
    return "." in component or ":" in component or component == "localhost" or component.startswith("localhost_")


def _written_registry(component: str) -> str:
    """The registry that a component names; `_` may stand before the port, where a path can have no colon."""
    escaped = _ESCAPED_PORT.fullmatch(component)
    return parse_registry(f"{escaped[1]}:{escaped[2]}" if escaped else component)


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository and a tag: a name whose meaning can change."""

    repository: Repository
    tag: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Read an image name as people write it; a missing registry is Docker Hub, a missing tag `latest`.

        Raises:
            NameInvalid: it is not an image name, or it is one by digest.
        """
        name, colon, tag = text.rpartition(":")
        if not colon or "/" in tag:
            name, tag = text, "latest"
        if "@" in text:
            raise NameInvalid(f"{text[:200]!r} names an image by digest, not by tag")
        return cls.of(Repository.parse(name), tag)

    @classmethod
    def of(cls, repository: Repository, tag: str) -> "Reference":
        """Join a repository and a tag from outside; raise NameInvalid if the tag is none."""
        if not is_tag(tag):
            raise NameInvalid(f"tag {tag[:140]!r} is not letters, digits and . _ -, 128 characters at most")
        return cls(repository, tag)

    @property
    def key(self) -> bytes:
        """The 32 bytes under which the cluster's directory knows this name."""
        return hashlib.sha256(b"skvaller:tag:" + str(self).encode()).digest()

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def parse_image(text: str) -> "tuple[Repository, Digest] | Reference":
    """Read what a person types for an image: a name with a tag, or a name with a digest.

    Returns:
        The repository and digest where the text has an `@`, else the reference.

    Raises:
        NameInvalid, DigestInvalid: what is wrong with it.
    """
    name, at, digest = text.partition("@")
    if not at:
        return Reference.parse(text)
    colon = name.rfind(":")
    if colon > name.rfind("/"):
        name = name[:colon]
    return Repository.parse(name), Digest.parse(digest)
