"""A registry on a bad day: several nodes pull at once, and no client notices more than that it takes a bit longer."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from testbed.agents import Agent
from testbed.faulty import FaultyUpstream
from testbed.images import Image
from testbed.processes import wait_until
from testbed.registry import Registry
from tests.clients.pulling import Client, PullError, at_once, pulled

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90)]

APP, MEGABYTE = "library/app:1.0", 1_000_000
MORE = 1.25
"""Upstream may send so many times the image: on a machine that is busy some pieces are late, and asked for twice."""


@pytest.fixture
def registry(start_registry: Callable[..., Registry]) -> Registry:
    return start_registry()


@pytest.fixture
def app(registry: Registry, make_image: Callable[..., Image]) -> Image:
    image = make_image(f"docker.io/{APP}", [18 * MEGABYTE, 5 * MEGABYTE, 10_000])
    registry.push(image, "library/app", "1.0")
    return image


@pytest.fixture
def upstream(registry: Registry) -> Iterator[FaultyUpstream]:
    with ExitStack() as stack:
        yield stack.enter_context(FaultyUpstream(registry.address, "abcd").running())


@pytest.fixture
def start(
    start_agent: Callable[..., Agent], loopback: Callable[[], str], upstream: FaultyUpstream
) -> Callable[..., list[Agent]]:
    """Start agents with these names: `start("abc", join=[…])`; they see each other when this returns."""

    def start_all(names: str, *, join: list[Agent] | None = None) -> list[Agent]:
        agents: list[Agent] = []
        for name in names:
            flags = ["--upstream", f"docker.io={upstream.urls[name]}"]
            for other in join or agents[:1]:
                flags += ["--join", other.gossip]
            agents.append(start_agent(name, loopback(), *flags))
        for one, other in itertools.permutations([*agents, *(join or [])], 2):
            one.until_state(other.name, "alive")
        return agents

    return start_all


def pull_at_once(agents: list[Agent], image: Image, name: str = APP) -> None:
    assert at_once(*(partial(Client(agent).pull, name) for agent in agents)) == [image.manifest] * len(agents)


def served(upstream: FaultyUpstream, image: Image) -> float:
    """How many times the image upstream has sent."""
    return sum(upstream.served[digest] for digest in image.digests) / image.total


def test_a_registry_that_drops_connections_now_and_then(
    start: Callable[..., list[Agent]], upstream: FaultyUpstream, app: Image
) -> None:
    upstream.drop_every, upstream.drop_after = 4, 200_000

    pull_at_once(start("abcd"), app)

    assert upstream.dropped > 0
    # What was on its way when a connection was dropped may be lost.
    assert served(upstream, app) <= MORE + upstream.dropped * upstream.drop_after / app.total


def test_a_registry_without_ranges(start: Callable[..., list[Agent]], upstream: FaultyUpstream, app: Image) -> None:
    upstream.ranges = False

    pull_at_once(start("abcd"), app)

    # Those that are not the home of the whole find that out by asking, and drop what is on its way by then.
    assert served(upstream, app) <= 2


def test_a_registry_that_limits_the_rate_of_some_nodes(
    start: Callable[..., list[Agent]], upstream: FaultyUpstream, app: Image
) -> None:
    agents = start("abcd")
    upstream.limited = {"b", "c"}

    pull_at_once(agents, app)

    assert upstream.refused.total() > 0
    # Two homes of a piece that cannot bring it are enough: then the two others each ask for themselves.
    assert served(upstream, app) <= 2 * MORE
    for agent in agents[1:3]:
        assert "upstream" not in agent.sources(app.layers[0])


def test_a_registry_that_limits_the_rate_of_all_is_never_heard_by_a_client(
    start: Callable[..., list[Agent]], upstream: FaultyUpstream, app: Image
) -> None:
    agents = start("ab")
    upstream.limited = {"a", "b"}
    for agent in agents:
        with pytest.raises(PullError, match=r"answered (404|503) to HEAD"):
            Client(agent).pull(APP)

    upstream.limited.clear()
    wait_until(lambda: pulled(agents[0], APP), "the limit to be over")
    pull_at_once(agents, app)
    assert served(upstream, app) <= MORE


def test_a_tag_that_moves_between_checks_gives_each_client_a_whole_image(
    start: Callable[..., list[Agent]],
    upstream: FaultyUpstream,
    registry: Registry,
    make_image: Callable[..., Image],
) -> None:
    images = {}
    for tag in ("old", "new"):
        image = make_image(f"docker.io/library/moving:{tag}", [2 * MEGABYTE, 6 * MEGABYTE])
        registry.push(image, "library/moving", tag)
        images[image.manifest] = image
    old, new = images.values()
    upstream.meanings = ["old", "new"]
    # Two that do not know each other yet, each with an answer of its own; the third joins both, and so do all.
    (a,), (b,) = start("a"), start("b")
    assert Client(a).pull("library/moving:latest") == old.manifest
    assert Client(b).pull("library/moving:latest") == new.manifest
    (c,) = start("c", join=[a, b])

    by_head = at_once(*(partial(Client(agent).pull, "library/moving:latest") for agent in (a, b, c)))
    by_get = at_once(*(partial(Client(agent).get, "/v2/library/moving/manifests/latest") for agent in (a, b, c)))

    assert set(by_head) <= set(images)
    assert set(by_get) <= {image.read(image.manifest) for image in images.values()}
    assert served(upstream, old) == served(upstream, new) == 1
