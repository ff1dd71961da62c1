"""What a node keeps: what is fetched, protected, and left alone."""

import asyncio
import json
from collections.abc import Set

from mirror.errors import StorageFull
from mirror.events import Event, Kind, PinChanged
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.reference import Repository
from mirror.pins.composition import Part
from mirror.pins.goals import Goal
from mirror.pins.inventory import Inventory
from mirror.pins.keeper import Keeper
from mirror.routers import Peer
from mirror.settings import PinSettings

REPOSITORY = Repository("docker.io", "library/x")
SETTINGS = PinSettings(fetches_max=8, retry_s=5, retry_max_s=60, confirmed_s=600)


class Node:
    """A cache, whatever may be fetched, and other members that hold what a test says."""

    def __init__(self, capacity: int = 10_000) -> None:
        self.capacity_bytes = capacity
        self.protected: Set[str] = frozenset()
        self.here: set[Digest] = set()
        self.elsewhere: dict[str, set[Digest]] = {}
        self.bodies: dict[Digest, bytes] = {}
        self.asked: list[Digest] = []
        self.fails = False
        self.now = 0.0
        self.told: list[Event] = []
        inventory = Inventory("me", self.holds, self.locate, self.ask, self.held, settings=SETTINGS)
        self.keeper = Keeper(
            "me",
            self,
            self.held,
            self.fetch,
            inventory,
            settings=SETTINGS,
            now=lambda: self.now,
            on_event=lambda event: self.told.append(event),
        )

    def holds(self, digest: Digest) -> bool:
        return digest in self.here

    def protect(self, names: Set[str]) -> None:
        self.protected = names

    def locate(self, key: bytes) -> list[Peer]:
        return [Peer(name, "127.0.0.1", 1) for name, held in self.elsewhere.items() if key in {it.key for it in held}]

    def ask(self, peer: Peer) -> "Asked":
        return Asked(self, peer.name)

    async def held(self, content: Content) -> bytes | None:
        return self.bodies[content.digest] if content.digest in self.here else None

    async def fetch(self, part: Part) -> None:
        self.asked.append(part.content.digest)
        if self.fails:
            raise StorageFull("no room")
        self.here.add(part.content.digest)

    def image(self, name: str, size: int, *keepers: str) -> Goal:
        layer = name.encode().ljust(size, b".")
        config = b"{}" + name.encode()
        parts = [{"digest": str(Digest.of(it)), "size": len(it)} for it in (config, layer)]
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": parts[0], "layers": parts[1:]}
        manifest = json.dumps(document).encode()
        self.bodies |= {Digest.of(it): it for it in (manifest, config, layer)}
        return Goal(Digest.of(manifest), (), REPOSITORY, len(keepers), keepers)

    def parts(self, goal: Goal) -> set[Digest]:
        document = json.loads(self.bodies[goal.digest])
        named = [document["config"], *document["layers"]]
        return {goal.digest, *(Digest.parse(it["digest"]) for it in named)}

    def looks(self, *goals: Goal, is_calm: bool = True, times: int = 3) -> None:
        async def look() -> None:
            for _ in range(times):
                await self.keeper.look(goals, is_calm=is_calm)
                for _ in range(10):
                    await asyncio.sleep(0)

        asyncio.run(look())

    def is_protected(self, goal: Goal) -> bool:
        return {it.hex for it in self.parts(goal)} <= self.protected


class Asked:
    def __init__(self, node: Node, name: str) -> None:
        self._node, self._name = node, name

    async def size(self, content: Content) -> int:
        return len(self._node.bodies[content.digest]) if content.digest in self._node.elsewhere[self._name] else 0

    async def manifest(self, content: Content) -> bytes:
        raise NotImplementedError

    async def hash(self, content: Content) -> bytes:
        raise NotImplementedError

    async def fetch(self, content: Content, platforms: tuple[str, ...]) -> bytes:
        raise NotImplementedError


def test_what_is_to_be_kept_is_fetched_manifest_first_and_protected() -> None:
    node = Node()
    goal = node.image("a", 100, "me", "n1")
    node.looks(goal)
    assert node.asked[0] == goal.digest
    assert node.here == node.parts(goal)
    assert len(node.asked) == 3
    assert node.is_protected(goal)
    assert node.keeper.counts == {"whole": 1, "incomplete": 0, "no_room": 0}


def test_nothing_is_fetched_or_let_go_while_it_is_not_clear_who_keeps_what() -> None:
    node = Node()
    goal, other = node.image("a", 100, "me"), node.image("b", 100, "me")
    node.looks(goal)
    node.looks(other, is_calm=False)
    assert node.is_protected(goal)
    assert not node.here & node.parts(other)
    node.looks(other)
    assert not node.is_protected(goal)
    assert node.is_protected(other)


def test_of_pins_that_exceed_the_cache_the_oldest_that_fit_are_kept_and_the_rest_is_left_alone() -> None:
    node = Node(capacity=2000)
    goals = [node.image("a", 1000, "me"), node.image("b", 1000, "me"), node.image("c", 100, "me")]
    node.looks(*goals)
    assert [node.is_protected(goal) for goal in goals] == [True, False, True]
    asked = list(node.asked)
    node.looks(*goals)
    assert node.asked == asked
    assert node.keeper.counts["no_room"] == 1
    assert not node.keeper.progress(goals[1].key).fits


def test_what_cannot_be_had_is_tried_ever_less_often_and_says_why() -> None:
    node = Node()
    node.fails = True
    goal = node.image("a", 100, "me")
    tries = []
    for node.now in range(100):
        node.looks(goal, times=1)
        tries.append(len(node.asked))
    assert tries[0] == 1
    assert tries[-1] == 5  # after 5, 10, 20 and 40 s
    assert node.keeper.progress(goal.key).problem == "no room"
    node.fails = False
    node.now += 100
    node.looks(goal)
    assert node.keeper.progress(goal.key).problem == ""


def test_what_others_are_to_keep_stays_until_they_have_answered_that_they_have_it() -> None:
    node = Node()
    goal = node.image("a", 100, "n1", "n2")
    node.here |= node.parts(goal)
    node.elsewhere = {"n1": node.parts(goal), "n2": node.parts(goal) - {goal.digest}}
    node.looks(goal)
    assert node.is_protected(goal)
    node.elsewhere["n2"] = node.parts(goal)
    node.now += 10
    node.looks(goal)
    assert not node.protected
    instead = Goal(goal.digest, (), REPOSITORY, 2, ("n1", "n3"))  # n2 has died
    node.looks(instead)
    assert node.is_protected(goal)
    assert not node.asked


def test_people_are_told_once_what_lacks_and_when_it_is_whole() -> None:
    node = Node()
    node.fails = True
    image, other = node.image("a", 100, "me"), node.image("b", 100, "you")
    name = f"{REPOSITORY}@{image.digest}"
    node.looks(image, other)
    assert node.told == [PinChanged(Kind.PIN_LACKING, name, "a part of it is not here")]
    node.fails, node.now = False, 1000.0
    node.looks(image, other, times=5)
    assert node.told[1:] == [PinChanged(Kind.PIN_WHOLE, name)]
    node.here -= node.parts(image)
    node.fails = True
    node.looks(image, times=1)
    assert [event.kind for event in node.told[2:]] == [Kind.PIN_LACKING]
