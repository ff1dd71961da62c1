"""Registries on the hosts of the lab: upstream, and pull-through caches."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.images import Image
from testbed.network import Address, Host
from testbed.registry import Registry

from ..content import REPOSITORY

REGISTRY_PORT: Final = 5000
UPSTREAM: Final = "upstream"


@dataclass(frozen=True, slots=True)
class Accesses:
    """What a registry was asked for, and what it sent.

    Args:
        manifest_gets: GET requests for manifests, successful or not.
        blob_gets: the same for blobs.
        heads: HEAD requests for either.
        sent_bytes: of all bodies, as far as they were sent.
    """

    manifest_gets: int
    blob_gets: int
    heads: int
    sent_bytes: int

    def __sub__(self, other: "Accesses") -> "Accesses":
        return Accesses(
            self.manifest_gets - other.manifest_gets,
            self.blob_gets - other.blob_gets,
            self.heads - other.heads,
            self.sent_bytes - other.sent_bytes,
        )

    @classmethod
    def of(cls, registry: Registry) -> "Accesses":
        """What a registry's access log says so far."""
        manifests, blobs = registry.accesses("GET", "/manifests/"), registry.accesses("GET", "/blobs/")
        heads = [*registry.accesses("HEAD", "/manifests/"), *registry.accesses("HEAD", "/blobs/")]
        sent_bytes = sum(access.size for access in (*manifests, *blobs))
        return cls(len(manifests), len(blobs), len(heads), sent_bytes)


def registry_on(host: Host, folder: Path, image: Image | None = None, upstream: str | None = None) -> Registry:
    """A docker-registry that listens for all hosts.

    Args:
        host: where it runs.
        folder: for its files.
        image: what it has.
        upstream: URL of the registry of which it is a pull-through cache.
    """
    registry = Registry(folder, Address(host.address, REGISTRY_PORT), netns=host.netns, upstream=upstream)
    if image is not None:
        registry.hold(image, REPOSITORY, image.name.rpartition(":")[2])
    return registry


def keep_logs(folder: Path, target: Path) -> None:
    """Copy all logs of a run before its folder is removed."""
    for log in (*folder.glob("*/*.log"), *folder.glob("*/*/*.log")):
        copy = target / log.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, copy)
