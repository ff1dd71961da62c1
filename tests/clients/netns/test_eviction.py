"""What a node's containerd holds too is the first to go from the cache."""

from collections.abc import Callable

import pytest

from testbed.images import Image
from testbed.nodes import Node
from testbed.processes import wait_until
from testbed.registry import Registry
from tests.clients.pulling import Client

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

MEGABYTE = 1_000_000


def cached(node: Node, image: Image) -> bool:
    name = image.layers[0].removeprefix("sha256:")
    return (node.agent.folder / "cache" / "blobs" / "sha256" / name[:2] / name).exists()


def test_the_copy_of_what_containerd_holds_goes_first(
    start_node: Callable[..., Node], upstream: Registry, make_image: Callable[..., Image]
) -> None:
    images: list[Image] = []
    for name in ("kept", "unpacked", "third"):
        images.append(make_image(f"docker.io/library/{name}:1", [25 * MEGABYTE]))
        upstream.push(images[-1], f"library/{name}", "1")
    kept, unpacked, third = images
    node = start_node("a", flags=["--cache-size", "64MiB"])
    client = Client(node.agent)
    client.pull("library/kept:1")
    node.pull(unpacked.name)
    until_spared(node, unpacked)

    client.pull("library/third:1")

    assert [cached(node, image) for image in images] == [True, False, True], "the oldest went before what was to spare"
    upstream.stop()
    for image in (kept, unpacked, third):  # nothing of it is lost
        assert Client(node.agent).pull(image.name.removeprefix("docker.io/")) == image.manifest


def until_spared(node: Node, image: Image) -> None:
    """Wait until the agent knows that its containerd has the image's layer."""
    (layer,) = image.layers
    wait_until(
        lambda: node.agent.ask(f"/api/v1/find?q={layer}")["holders"][layer][0]["store"] == "containerd",
        "the agent to see what containerd has",
    )
