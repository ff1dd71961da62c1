"""The demo's image: a few layers of random bytes, so that no two pieces are alike."""

import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..oci.digest import Digest
from ..oci.manifest import OCI_MANIFEST

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Blob:
    """Something that a registry serves.

    Args:
        digest: its name.
        size: in bytes.
        path: the file that holds it.
        label: what it is, for people.
        media_type: what it is, for machines.
    """

    digest: Digest
    size: int
    path: Path
    label: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image on disk: its manifest, and what that points to."""

    manifest: Blob
    blobs: tuple[Blob, ...]

    @property
    def everything(self) -> tuple[Blob, ...]:
        """Manifest, configuration and layers."""
        return (self.manifest, *self.blobs)

    @property
    def size(self) -> int:
        """Bytes of everything."""
        return sum(blob.size for blob in self.everything)


def make_image(folder: Path, size: int, layers: int, progress: Callable[[int], None]) -> Image:
    """Make an image of `layers` random layers.

    Args:
        folder: where its files go.
        size: of all layers together, in bytes.
        layers: number of layers. Each is a tar archive of one file; the first is the largest.
        progress: called with the number of bytes after each block; what it raises ends the making.
    """
    shares = [2 ** (layers - index) for index in range(layers)]
    tars = [
        _make_layer(folder, f"layer {index + 1}", size * share // sum(shares), progress)
        for index, share in enumerate(shares)
    ]
    rootfs = {"type": "layers", "diff_ids": [str(blob.digest) for blob in tars]}
    config = _write(
        folder, "config", _CONFIG, json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    )
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(config),
        "layers": [_descriptor(blob) for blob in tars],
    }
    manifest = _write(folder, "manifest", OCI_MANIFEST, json.dumps(document).encode())
    return Image(manifest, (config, *tars))


def _make_layer(folder: Path, label: str, size: int, progress: Callable[[int], None]) -> Blob:
    path = folder / label.replace(" ", "-")
    hashed = sha256()
    with path.open("wb") as file:
        for block in _tar(size):
            file.write(block)
            hashed.update(block)
            progress(len(block))
    return Blob(Digest(hashed.hexdigest()), path.stat().st_size, path, label, _LAYER)


def _tar(size: int) -> Iterator[bytes]:
    """An archive of one file of random bytes."""
    header = tarfile.TarInfo("random")
    header.size = size
    yield header.tobuf()
    for offset in range(0, size, _BLOCK_BYTES):
        yield os.urandom(min(_BLOCK_BYTES, size - offset))
    yield bytes(-size % 512 + 1024)


def _write(folder: Path, label: str, media_type: str, body: bytes) -> Blob:
    path = folder / label
    path.write_bytes(body)
    return Blob(Digest.of(body), len(body), path, label, media_type)


def _descriptor(blob: Blob) -> dict[str, str | int]:
    return {"mediaType": blob.media_type, "digest": str(blob.digest), "size": blob.size}
