"""A client that pushes, in as many requests as a test wants."""

import http.client
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from .network import Address

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_TIMEOUT_S: Final = 30.0
"""Bounds each wait for an answer, s."""


def digest_of(content: bytes) -> str:
    """The digest of some content."""
    return f"sha256:{sha256(content).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image of one layer.

    Args:
        layer: any bytes.
        config: of the image.
        manifest: names both.
    """

    layer: bytes
    config: bytes
    manifest: bytes

    @classmethod
    def of(cls, layer: bytes, **fields: Any) -> "Pushed":
        """An image with that layer; more fields of its manifest may be given."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}}).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar")],
            **fields,
        }
        return cls(layer, config, json.dumps(manifest).encode())

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return digest_of(self.manifest)


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    """What a manifest says of some content."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error's code, as the specification has it."""
        return str(json.loads(self.body)["errors"][0]["code"])


@dataclass(slots=True)
class Pusher:
    """Asks one endpoint.

    Args:
        address: of the endpoint.
        repository: of what is pushed.
        headers: of each request.
    """

    address: Address
    repository: str = "lab/app"
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; a path that does not begin with `/` is below the repository."""
        connection = http.client.HTTPConnection(*self.address, timeout=_TIMEOUT_S)
        target = path if path.startswith("/") else f"/v2/{self.repository}/{path}"
        try:
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(method, target, body, {**self.headers, **(headers or {})}, encode_chunked=chunked)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def begin(self) -> str:
        """Begin an upload; return its location."""
        answer = self.ask("POST", "blobs/uploads/")
        assert answer.status == 202, answer
        return answer.headers["location"]

    def blob(self, content: bytes) -> Answer:
        """Push a blob in one request after the one that begins."""
        return self.ask("PUT", f"{self.begin()}?digest={digest_of(content)}", content)

    def manifest(self, content: bytes, reference: str, media_type: str = OCI_MANIFEST) -> Answer:
        """Push a manifest by a tag or digest."""
        return self.ask("PUT", f"manifests/{reference}", content, {"Content-Type": media_type})

    def image(self, image: Pushed, tags: Sequence[str]) -> None:
        """Push an image, and give it tags."""
        for blob in (image.layer, image.config):
            answer = self.blob(blob)
            assert answer.status == 201, answer
        for tag in tags:
            answer = self.manifest(image.manifest, tag)
            assert answer.status == 201, answer
