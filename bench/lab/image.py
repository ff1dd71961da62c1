"""An image of random content, as files, and where a registry has it."""

import hashlib
import json
import os
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..content import MANIFEST_TYPE, Content
from ..servers import put

_LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
_CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_BLOCK_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Image:
    """An image.

    Args:
        tag: in its repository.
        manifest: the only one.
        blobs: configuration and layers.
    """

    tag: str
    manifest: Content
    blobs: Sequence[Content]

    @property
    def size(self) -> int:
        """Bytes of all its content."""
        return self.manifest.size + sum(blob.size for blob in self.blobs)

    def put(self, store: Path) -> None:
        """Put it into the store of a docker-registry, as links to the same files."""
        for blob in self.blobs:
            put(store, blob)
        put(store, self.manifest, self.tag)


def make_image(folder: Path, tag: str, size: int, layers: int) -> Image:
    """Write an image whose layers hold one file of random bytes each, `size` bytes together."""
    folder.mkdir()
    made = [_make_layer(folder / f"layer-{number}", size // layers) for number in range(layers)]
    digests = [f"sha256:{layer.hex}" for layer in made]
    machine = {"architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux"}
    config = _make_json(
        folder / "config", "blobs", {**machine, "config": {}, "rootfs": {"type": "layers", "diff_ids": digests}}
    )
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(config, _CONFIG_TYPE),
        "layers": [_descriptor(layer, _LAYER_TYPE) for layer in made],
    }
    return Image(tag, _make_json(folder / "manifest", "manifests", content), [config, *made])


def _make_layer(file: Path, size: int) -> Content:
    """A tar, for runtimes that unpack it, of one file that no other one resembles."""
    noise = os.urandom(_BLOCK_BYTES)
    entry = tarfile.TarInfo(f"usr/share/{file.name}")
    entry.size = size
    sha256 = hashlib.sha256()
    with file.open("wb") as out:
        blocks = (
            (start.to_bytes(8, "big") + noise)[: min(_BLOCK_BYTES, size - start)]
            for start in range(0, size, _BLOCK_BYTES)
        )
        for block in (entry.tobuf(), *blocks, bytes(-size % 512 + 1024)):
            sha256.update(block)
            out.write(block)
        length = out.tell()
    return Content("blobs", file, sha256.hexdigest(), length)


def _make_json(file: Path, kind: str, content: Mapping[str, Any]) -> Content:
    body = json.dumps(content).encode()
    file.write_bytes(body)
    return Content(kind, file, hashlib.sha256(body).hexdigest(), len(body))


def _descriptor(content: Content, media_type: str) -> Mapping[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{content.hex}", "size": content.size}
