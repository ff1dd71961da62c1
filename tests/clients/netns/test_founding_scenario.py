"""Two hosts, each with its own containerd and agent, and an upstream registry on a third: what Skvaller is for."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from mirror.cluster.homes import piece_size
from mirror.settings import PlanSettings
from testbed.images import Image
from testbed.network import MBIT
from testbed.nodes import CONTAINERD_NAMESPACE, Node
from testbed.processes import run, wait_until
from testbed.registry import Registry

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

BY_HAND = "docker.io/library/nginx-not-exist:1.27.4"
APP = "docker.io/library/app:1.0"
MEGABYTE = 1_000_000


def served(registry: Registry, image: Image) -> dict[str, int]:
    """How many bytes of each of an image's contents upstream has sent, once it has sent them all."""
    return {digest: registry.served(digest, least=image.size(digest)) for digest in image.digests}


def once(image: Image) -> dict[str, int]:
    return {digest: image.size(digest) for digest in image.digests}


@pytest.fixture
def app(upstream: Registry, make_image: Callable[..., Image]) -> Image:
    """An ordinary image, which upstream has."""
    image = make_image(APP, [9 * MEGABYTE, 2 * MEGABYTE, 10_000], compress=True)
    upstream.push(image, "library/app", "1.0")
    upstream.forget_accesses()
    return image


def test_an_image_tagged_by_hand_on_one_host_is_pulled_on_the_other(
    a: Node, b: Node, upstream: Registry, make_image: Callable[..., Image]
) -> None:
    image = make_image("example.org/built-here:7", [3 * MEGABYTE, 100_000])
    a.import_image(image)
    a.ctr("images", "tag", image.name, BY_HAND)
    b.agent.until_found(BY_HAND, "a")

    b.pull(BY_HAND)

    assert b.digest_of(BY_HAND) == image.manifest == a.digest_of(BY_HAND)
    assert b.has(image)
    assert b.agent.sources(image.layers[0]) == {"a": image.size(image.layers[0])}
    assert {access.status for access in upstream.accesses("HEAD", "nginx-not-exist")} == {404}


def test_an_image_that_is_removed_while_the_other_host_pulls_it_comes_whole_and_is_gone_then(
    start_node: Callable[..., Node], upstream: Registry, make_image: Callable[..., Image]
) -> None:
    upstream.stop()
    a = start_node("a", flags=["--log-level", "debug"])
    b = start_node("b", a, parallel=1)
    image = make_image(BY_HAND, [2 * MEGABYTE] * 6)
    a.import_image(image)
    b.agent.until_found(BY_HAND, "a")
    a.host.limit_sent(40 * MBIT)

    with ThreadPoolExecutor(1) as background:
        pull = background.submit(run, b.containerd.pull_command(BY_HAND, b.hosts_dir), netns=b.host.netns)
        b.agent.until_received(image.layers[0], "a", 1)
        wait_until(lambda: 'msg="containerd keeps"' in a.agent.output, "a lease")
        a.containerd.remove_images(BY_HAND, namespace=CONTAINERD_NAMESPACE)
        assert not b.has(image)
        pull.result(60)

    assert b.has(image)
    assert [b.agent.sources(digest) for digest in image.layers] == [{"a": image.size(it)} for it in image.layers]
    assert len(a.containerd.leases(namespace=CONTAINERD_NAMESPACE)) == 1
    a.agent.stop()
    wait_until(lambda: not a.containerd.contents(namespace=CONTAINERD_NAMESPACE), "containerd to collect the image")
    assert a.containerd.leases(namespace=CONTAINERD_NAMESPACE) == []


def test_an_image_that_both_hosts_pull_leaves_upstream_once(a: Node, b: Node, upstream: Registry, app: Image) -> None:
    b.pull(APP)
    assert served(upstream, app) == once(app)
    for digest in app.digests:
        a.agent.until_found(digest, "b")

    a.pull(APP)

    assert a.has(app)
    assert b.has(app)
    assert served(upstream, app) == once(app)


def test_an_image_that_a_host_has_is_pulled_while_upstream_is_down(
    a: Node, b: Node, upstream: Registry, app: Image
) -> None:
    a.pull(APP)
    b.agent.until_found(APP, "a")
    for digest in app.digests:
        b.agent.until_found(digest, "a")
    upstream.stop()

    b.pull(APP)

    assert b.digest_of(APP) == app.manifest
    assert b.has(app)


@pytest.mark.parametrize(("failure", "size"), [("killed", 300 * MEGABYTE), ("cut off", 100 * MEGABYTE)])
def test_a_holder_that_is_lost_in_the_middle_is_replaced_by_upstream(
    failure: str, size: int, a: Node, b: Node, upstream: Registry, make_image: Callable[..., Image]
) -> None:
    image = make_image(APP, [size])
    layer = image.layers[0]
    upstream.push(image, "library/app", "1.0")
    upstream.forget_accesses()
    a.import_image(image)
    b.agent.until_found(layer, "a")
    a.host.limit_sent(200 * MBIT)

    with ThreadPoolExecutor(1) as background:
        pull = background.submit(b.pull, APP)
        b.agent.until_received(layer, "a", 20 * MEGABYTE)
        if failure == "killed":
            a.agent.kill()
        else:
            a.host.cut()
        pull.result(60)

    assert b.digest_of(APP) == image.manifest
    assert b.has(image)
    sources = b.agent.sources(layer)
    assert 20 * MEGABYTE <= sources["a"] < image.size(layer)
    missing = image.size(layer) - sources["a"]
    # What each of the holder's lanes was still bringing when it was given up may have been asked for already.
    assert missing <= sources["upstream"] <= missing + PlanSettings().holder_lanes * piece_size(image.size(layer))
    assert upstream.served(layer, least=missing) <= missing + PlanSettings().holder_lanes * piece_size(
        image.size(layer)
    )


def test_what_containerd_holds_is_served_after_it_was_restarted(
    a: Node, b: Node, make_image: Callable[..., Image]
) -> None:
    before = make_image("docker.io/library/before:1", [MEGABYTE])
    a.import_image(before)
    b.agent.until_found(before.name, "a")

    a.containerd.kill()
    a.containerd.start()
    after = make_image("docker.io/library/after:1", [MEGABYTE])
    a.import_image(after)

    for image in (after, before):
        b.agent.until_found(image.name, "a")
        b.pull(image.name)
        assert b.has(image)


def test_an_agent_that_is_asked_to_stop_leaves(a: Node, b: Node) -> None:
    assert a.agent.stop() == 0
    b.agent.until_state("a", "left")
