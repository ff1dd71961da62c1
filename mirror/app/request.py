"""What a request to the distribution API asks for.

Source: OCI distribution-spec, "Endpoints".
"""

from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import parse_qsl

from starlette.types import Scope

from ..errors import NameInvalid, NotFound, Unsupported
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Reference, Repository
from ..sources import HOP_HEADER

_HOP = HOP_HEADER.lower().encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """A manifest or blob that a request names.

    Args:
        kind: which of the two.
        repository: under whose name.
        what: the digest, or the tag as a reference (manifests only).
    """

    kind: Literal["manifests", "blobs"]
    repository: Repository
    what: Digest | Reference

    def content(self, digest: Digest) -> Content:
        """The content to look for, once the digest is known."""
        return Content(self.repository, self.kind, digest)


def parse(scope: Scope) -> Asked | None:
    """Read a request below `/v2/`.

    Returns:
        What it asks for; None for `/v2/` itself.

    Raises:
        OciError: the method, path, name, digest or `ns` is not one this mirror answers.
    """
    if scope["method"] not in ("GET", "HEAD"):
        raise Unsupported(f"{scope['method']} is not supported: this mirror is read-only, push to the registry itself")
    path: str = scope["path"]
    if path != "/v2" and not path.startswith("/v2/"):
        raise NotFound(f"{path[:200]} is no endpoint here: the distribution API begins with /v2/")
    path = path.removeprefix("/v2").removeprefix("/")
    if not path:
        return None
    name, _, what = path.rpartition("/")
    name, _, kind = name.rpartition("/")
    if kind not in ("manifests", "blobs") or not name:
        raise NotFound(f"/v2/{path[:200]} is no endpoint of this mirror: it serves manifests and blobs")
    repository = Repository.parse(name, _ns(scope["query_string"]))
    if kind == "manifests" and ":" not in what:
        return Asked("manifests", repository, Reference.of(repository, what))
    return Asked(cast("Literal['manifests', 'blobs']", kind), repository, Digest.parse(what))


def _ns(query: bytes) -> str | None:
    """The registry that containerd names in `?ns=`."""
    if not query:
        return None
    named = {value for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if key == "ns"}
    if len(named) > 1:
        raise NameInvalid("the request names several registries in ns")
    return named.pop() if named else None


def header(scope: Scope, name: bytes) -> str | None:
    """A request header by its lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return cast("bytes", value).decode("latin-1")
    return None


def hopped(scope: Scope) -> bool:
    """Whether another node sent the request on behalf of its own client."""
    return header(scope, _HOP) is not None


def target(scope: Scope) -> str:
    """The request's path and query as they were sent."""
    path: str = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    query: str = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path
