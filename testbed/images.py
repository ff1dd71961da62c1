"""Images made on the spot, of random content, as OCI layouts on disk."""

import gzip
import hashlib
import json
import platform
import random
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
_CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
_INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}

_CHUNK_BYTES: Final = 1024 * 1024
"""How much of a layer is made at a time."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image as an OCI layout on disk.

    Args:
        layout: the layout's folder; skopeo reads it as `oci:<layout>`.
        manifest: digest of the only manifest.
        config: digest of its configuration.
        layers: digests, in order.
        name: what `ctr images import` will call it.
    """

    layout: Path
    manifest: str
    config: str
    layers: tuple[str, ...]
    name: str

    @property
    def digests(self) -> tuple[str, ...]:
        """Of manifest, configuration and layers."""
        return (self.manifest, self.config, *self.layers)

    def path(self, digest: str) -> Path:
        """The file of one blob."""
        return self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def read(self, digest: str) -> bytes:
        """One blob's bytes."""
        return self.path(digest).read_bytes()

    def size(self, digest: str) -> int:
        """One blob's length, bytes."""
        return self.path(digest).stat().st_size

    @property
    def total(self) -> int:
        """Bytes of everything, manifest included."""
        return sum(map(self.size, self.digests))

    def archive(self) -> Path:
        """The layout as one tar file beside it, for `ctr images import`; made at the first call."""
        path = self.layout.with_suffix(".tar")
        if not path.exists():
            with tarfile.open(path, "w") as tar:
                for item in ("oci-layout", "index.json", "blobs"):
                    tar.add(self.layout / item, arcname=item)
        return path


def build_image(
    folder: Path,
    name: str,
    layer_sizes: Sequence[int],
    *,
    seed: int = 0,
    compress: bool = False,
    program: Path | None = None,
) -> Image:
    """Make an image whose layers hold one file of random bytes each.

    Args:
        folder: its layout is written to a new subfolder of this.
        name: e.g. `docker.io/library/made:1`.
        layer_sizes: bytes in each layer's file; 300 MB take about two seconds.
        seed: the same seed and sizes give the same digests.
        compress: gzip the layers, as most images are; for small ones, since random bytes do not shrink.
        program: a statically linked program that the image runs, in a layer behind these.
    """
    layout = folder / f"layout-{len(list(folder.glob('layout-*.oci')))}.oci"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    chance = random.Random(seed)
    layers = [_write_layer(blobs, index, size, chance, compress=compress) for index, size in enumerate(layer_sizes)]
    settings: dict[str, object] = {"Labels": {"seed": str(seed)}}
    if program is not None:
        layers.append(_write_program(blobs, program))
        settings["Entrypoint"] = ["/program"]
    config = _write_json(
        blobs,
        _CONFIG_TYPE,
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        },
    )
    descriptors = [layer for layer, _ in layers]
    content = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": descriptors}
    manifest = _write_json(blobs, MANIFEST_TYPE, content)
    tag = name.rpartition(":")[2]
    manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": [manifest]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    digests = tuple(str(descriptor["digest"]) for descriptor in descriptors)
    return Image(layout, str(manifest["digest"]), str(config["digest"]), digests, name)


def _write_json(blobs: Path, media_type: str, content: object) -> dict[str, object]:
    body = json.dumps(content).encode()
    digest = hashlib.sha256(body).hexdigest()
    (blobs / digest).write_bytes(body)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(body)}


def _write_layer(
    blobs: Path, index: int, size: int, chance: random.Random, *, compress: bool
) -> tuple[dict[str, object], str]:
    """Write a layer of one file; return its descriptor, and the digest of the tar inside."""
    tar = blobs / f"layer-{index}"
    entry = tarfile.TarInfo(f"random-{index}")
    entry.size = size
    with tar.open("wb") as file:
        file.write(entry.tobuf())
        for start in range(0, size, _CHUNK_BYTES):
            file.write(chance.randbytes(min(_CHUNK_BYTES, size - start)))
        file.write(bytes(-size % 512 + 1024))
    diff_id = _sha256(tar)
    if compress:
        with (
            tar.open("rb") as plain,
            (blobs / "packed").open("wb") as file,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        ):
            shutil.copyfileobj(plain, packed, _CHUNK_BYTES)
        (blobs / "packed").replace(tar)
    return _stored(blobs, tar, _LAYER_TYPE + ("+gzip" if compress else "")), f"sha256:{diff_id}"


def _write_program(blobs: Path, program: Path) -> tuple[dict[str, object], str]:
    """Write a layer with a program as `/program`; return its descriptor, and the digest of the tar inside."""
    tar = blobs / "program"
    with tarfile.open(tar, "w") as file:
        entry = tarfile.TarInfo("program")
        entry.mode, entry.size = 0o755, program.stat().st_size
        with program.open("rb") as content:
            file.addfile(entry, content)
    descriptor = _stored(blobs, tar, _LAYER_TYPE)
    return descriptor, str(descriptor["digest"])


def _stored(blobs: Path, file: Path, media_type: str) -> dict[str, object]:
    """Give a blob the name of its digest; return its descriptor."""
    digest = _sha256(file)
    path = file.rename(blobs / digest)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": path.stat().st_size}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
