"""Real clients that read parts of layers: podman with zstd:chunked, at an address that stands for one registry."""

import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from testbed.images import MANIFEST_TYPE
from testbed.network import Address, free_address
from testbed.processes import run
from testbed.registry import Registry
from tests.clients.conftest import need

pytestmark = pytest.mark.clients

_FILES, _FILE_BYTES, _CHANGED = 40, 200_000, 5


def layout(folder: Path, tag: str, seed: int) -> Path:
    """An image of one layer with many files, of which some differ from seed to seed."""
    blobs, tar_bytes = folder / "blobs" / "sha256", io.BytesIO()
    blobs.mkdir(parents=True)
    with tarfile.open(fileobj=tar_bytes, mode="w") as tar:
        for number in range(_FILES):
            entry = tarfile.TarInfo(f"file-{number}")
            entry.size = _FILE_BYTES
            chance = random.Random(number if number >= _CHANGED else 1000 * seed + number)
            tar.addfile(entry, io.BytesIO(chance.randbytes(_FILE_BYTES)))

    def put(body: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(body).hexdigest()
        (blobs / digest).write_bytes(body)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(body)}

    layer = put(tar_bytes.getvalue(), "application/vnd.oci.image.layer.v1.tar")
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [layer],
    }
    named = put(json.dumps(manifest).encode(), MANIFEST_TYPE)
    named["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


@pytest.fixture
def registry(tmp_path: Path, start_registry: Callable[..., Registry]) -> Registry:
    """A registry with two versions of an image, whose layers are zstd:chunked."""
    made = start_registry()
    for seed, tag in enumerate(("1", "2")):
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        target = f"docker://{made.address}/library/lazy:{tag}"
        image = layout(tmp_path / f"layout-{tag}", tag, seed)
        run([*copy, "--dest-compress-format", "zstd:chunked", f"oci:{image}:{tag}", target])
    made.forget_accesses()
    return made


@pytest.fixture
def podman() -> Iterator[Callable[[str], None]]:
    """Pull an image into a store of its own, in part where podman has the rest. Its folders are short: see podman."""
    need("podman", "skopeo")
    with TemporaryDirectory(prefix="lazy-") as folder:
        storage = Path(folder, "storage.conf")
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
            '[storage.options]\npull_options = {enable_partial_images = "true"}\n'
        )

        def pull(image: str) -> None:
            command = ["podman", "pull", "--quiet", "--tls-verify=false", image]
            environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage)}
            done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=100)
            assert done.returncode == 0, done.stderr.decode()

        yield pull
        subprocess.run(["umount", "--lazy", f"{folder}/root/overlay"], capture_output=True, check=False)


def blob_bytes(registry: Registry) -> int:
    """What a registry sent of blobs since it was last asked."""
    count = sum(access.size for access in registry.accesses(containing="/blobs/"))
    registry.forget_accesses()
    return count


@pytest.mark.parametrize("flags", [[], ["--cache-size", "0"]], ids=["cache", "no cache"])
def test_podman_moves_as_little_through_an_agent_as_directly(
    registry: Registry,
    podman: Callable[[str], None],
    start_agent: Callable[..., Any],
    loopback: Callable[[], str],
    flags: list[str],
) -> None:
    listener: Address = free_address()
    upstream = ["--upstream", f"lazy.example=http://{registry.address}"]
    start_agent("n1", loopback(), *upstream, "--listen-for", f"lazy.example={listener}", *flags)
    podman(f"{listener}/library/lazy:1")
    whole = blob_bytes(registry)
    podman(f"{listener}/library/lazy:2")
    moved = blob_bytes(registry)
    assert whole >= _FILES * _FILE_BYTES
    assert moved <= 1.1 * _CHANGED * _FILE_BYTES
