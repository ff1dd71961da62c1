"""Image archives of a few bytes, as different programs write them, with anything in them that a test wants."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
NAME: Final = "io.containerd.image.name"
REF: Final = "org.opencontainers.image.ref.name"

Descriptor = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Link:
    """A member that leads to another one."""

    target: str
    is_hard: bool = False


Files = Mapping[str, bytes | Link]


def layer(text: str, size: int = 0) -> bytes:
    """A layer of one file, whose name is its text; with a size, that many bytes more."""
    return tar_of({text: text.encode() + bytes(size)})


def tar_of(files: Files) -> bytes:
    """A tar file of some members, in their order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            head = tarfile.TarInfo(name)
            if isinstance(content, Link):
                head.type, head.linkname = tarfile.LNKTYPE if content.is_hard else tarfile.SYMTYPE, content.target
                tar.addfile(head)
            else:
                head.size = len(content)
                tar.addfile(head, io.BytesIO(content))
    return out.getvalue()


def digest_of(content: bytes) -> str:
    """The digest of some content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(slots=True)
class Layout:
    """An OCI layout that is put together part by part."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    entries: list[Descriptor] = field(default_factory=list)

    def blob(self, media_type: str, content: bytes, **more: Any) -> Descriptor:
        """Add a blob; return its descriptor."""
        self.blobs[digest_of(content)] = content
        return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}

    def document(self, media_type: str, content: Mapping[str, Any], **more: Any) -> Descriptor:
        """Add a manifest or index; return its descriptor."""
        return self.blob(
            media_type, json.dumps({"schemaVersion": 2, "mediaType": media_type, **content}).encode(), **more
        )

    def image(self, layers: Sequence[bytes], platform: str = "linux/amd64", **more: Any) -> Descriptor:
        """Add the manifest of an image, its configuration and its layers."""
        system, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        named = {"os": system, "architecture": architecture, **({"variant": variant} if variant else {})}
        body = {**named, "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}
        config = self.blob(CONFIG, json.dumps(body).encode())
        described = [self.blob(LAYER, layer) for layer in layers]
        return self.document(MANIFEST, {"config": config, "layers": described}, **more)

    def for_platforms(self, platforms: Iterable[str], *, attested: bool = False) -> Descriptor:
        """Add an image for several platforms, as buildx makes it; with `attested`, what attests something of each."""
        children = []
        for platform in platforms:
            system, _, rest = platform.partition("/")
            child = self.image([layer(f"of {platform}")], platform)
            children.append({**child, "platform": {"os": system, "architecture": rest}})
            if attested:
                statement = self.blob("application/vnd.in-toto+json", json.dumps({"about": child["digest"]}).encode())
                config = self.blob(CONFIG, b'{"architecture":"unknown","os":"unknown"}')
                marks = {"vnd.docker.reference.digest": child["digest"], "vnd.docker.reference.type": "attestation"}
                attestation = self.document(MANIFEST, {"config": config, "layers": [statement]}, annotations=marks)
                children.append({**attestation, "platform": {"os": "unknown", "architecture": "unknown"}})
        return self.document(INDEX, {"manifests": children})

    def list(self, entry: Descriptor, **annotations: str) -> None:
        """List an image in `index.json`, with `name` and `ref` as its annotations, if they are given."""
        keys = {"name": NAME, "ref": REF}
        marks = {keys[key]: value for key, value in annotations.items()}
        self.entries.append({**entry, "annotations": marks} if marks else entry)

    def without(self, *digests: str) -> "Layout":
        """The same, but for some blobs."""
        return Layout({digest: body for digest, body in self.blobs.items() if digest not in digests}, self.entries)

    def files(self) -> dict[str, bytes | Link]:
        """All of it, blobs first and `index.json` last, as a pipe may have it."""
        blobs = {f"blobs/{digest.replace(':', '/')}": body for digest, body in self.blobs.items()}
        index = json.dumps({"schemaVersion": 2, "manifests": self.entries}).encode()
        return {**blobs, "oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}


def docker_save(
    images: Mapping[str, Sequence[bytes]], *, tags: Mapping[str, Sequence[str]] | None = None
) -> dict[str, bytes | Link]:
    """What `docker save` of version 10 to 24 writes: layers in folders, those of several images linked, the list last.

    Args:
        images: the layers of each, by its name.
        tags: other names of an image, if it has some; an empty list: none at all.
    """
    files: dict[str, bytes | Link] = {}
    homes: dict[str, str] = {}
    listed = []
    for name, layers in images.items():
        diff_ids = [digest_of(layer) for layer in layers]
        names = []
        for number, layer_bytes in enumerate(layers):
            folder = hashlib.sha256(f"{name} {number}".encode()).hexdigest()
            files[f"{folder}/VERSION"], files[f"{folder}/json"] = b"1.0", b"{}"
            home = homes.setdefault(diff_ids[number], f"{folder}/layer.tar")
            names.append(f"{folder}/layer.tar")
            files[names[-1]] = layer_bytes if home == names[-1] else Link(f"../{home}")
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        body = json.dumps(config).encode()
        config_name = f"{hashlib.sha256(body).hexdigest()}.json"
        files[config_name] = body
        named = list((tags or {}).get(name, [name]))
        listed.append({"Config": config_name, "RepoTags": named or None, "Layers": names})
    return {**files, "manifest.json": json.dumps(listed).encode(), "repositories": b"{}"}
