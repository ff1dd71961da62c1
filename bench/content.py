"""Content to serve: large blobs, and a manifest of the size that manifests have."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from testbed.images import MANIFEST_TYPE

REPOSITORY = "library/bench"

_BLOCK_BYTES = 4 * 1024 * 1024
_LAYERS = 60


@dataclass(frozen=True, slots=True)
class Content:
    """A manifest or blob as a file.

    Args:
        kind: `blobs` or `manifests`, as in the API's paths.
        file: its bytes.
        hex: its sha256.
        size: in bytes.
    """

    kind: str
    file: Path
    hex: str
    size: int

    @property
    def digest(self) -> str:
        """As in the API's paths."""
        return f"sha256:{self.hex}"

    @property
    def path(self) -> str:
        """Where every server here serves it."""
        return f"/v2/{REPOSITORY}/{self.kind}/{self.digest}"


def make_blob(file: Path, size: int) -> Content:
    """Write a blob that does not compress and repeats nothing that matters."""
    noise = os.urandom(_BLOCK_BYTES)
    sha256 = hashlib.sha256()
    with file.open("wb") as out:
        for number in range(0, size, _BLOCK_BYTES):
            block = (number.to_bytes(8, "big") + noise)[: min(_BLOCK_BYTES, size - number)]
            sha256.update(block)
            out.write(block)
    return Content("blobs", file, sha256.hexdigest(), size)


def make_manifest(file: Path) -> Content:
    """Write an image manifest of about 10 KB."""
    entries = [
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": f"sha256:{hashlib.sha256(bytes([number])).hexdigest()}",
            "size": 1000 + number,
        }
        for number in range(_LAYERS)
    ]
    config = {**entries[0], "mediaType": "application/vnd.oci.image.config.v1+json"}
    body = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": entries[1:]}
    ).encode()
    file.write_bytes(body)
    return Content("manifests", file, hashlib.sha256(body).hexdigest(), len(body))
