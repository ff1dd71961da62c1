"""The gate: who is let in to a repository, and what is released under its name."""

import asyncio
import base64
from collections import Counter

import pytest

from mirror.access import Checks, Gate, Offers, Passage, PrivatePolicies, PrivatePolicy, Sharing, Visibility
from mirror.errors import (
    BlobUnknown,
    Denied,
    LoginRequired,
    ManifestUnknown,
    NameUnknown,
    OciError,
    Refusal,
    Unavailable,
)
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.sources import Shown
from mirror.stores.marks import Mark, Marks
from tests.unit.mirror.access.registry import Clock, FakeRegistry

APP, OTHER, PUBLIC = (Repository("hub.example", name) for name in ("team/app", "team/other", "all/public"))
FREE = Repository("shared.example", "any/thing")
BLOB = Content(APP, "blobs", Digest.of(b"layer"))
CLUSTER_PASSWORD = "1." + "0" * 64


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


ALICE, MALLORY = basic("alice:right"), basic("mallory:guess")


def under(repository: Repository) -> Content:
    return Content(repository, BLOB.kind, BLOB.digest)


class World:
    """A gate, and a registry in which alice may read one repository, mallory another one, and all a third one."""

    def __init__(self, sharing: Sharing = Sharing.CHECKED) -> None:
        self.has = {(str(APP), BLOB.path.rpartition("team/app/")[2])}
        self.readers: dict[str, list[str | None]] = {
            str(APP): [ALICE],
            str(OTHER): [MALLORY],
            str(PUBLIC): [None, ALICE, MALLORY],
        }
        self.registry = registry = FakeRegistry(self._shown)
        self.policies = PrivatePolicies((("hub.example/*", PrivatePolicy(sharing, 60.0)),))
        self.marks, self.clock = Marks(), Clock()
        self.visibility = Visibility(registry, now=self.clock)
        self.counted: Counter[str] = Counter()
        self.gate = Gate(
            self.policies,
            self.marks,
            self.visibility,
            Checks(registry, now=self.clock),
            registry,
            registry,
            lambda outcome: self.counted.update([outcome]),
            lambda password: password == CLUSTER_PASSWORD,
            now=self.clock,
        )
        self.offers = Offers(self.policies, self.marks, self.visibility)

    def _shown(self, repository: str, path: str, who: str | None) -> Shown:
        if who not in self.readers[repository]:
            return Shown.REFUSED
        return Shown.YES if path == "manifests/1" or (repository, path) in self.has else Shown.ABSENT

    async def enter(self, repository: Repository, who: str | None = None, path: str = "manifests/1") -> Passage:
        return await self.gate.enter(repository, path, who)

    async def gets(self, repository: Repository, who: str | None = None) -> bool:
        """Whether a client that has seen a manifest of a repository gets the blob under its name."""
        try:
            await self.gate.release(await self.enter(repository, who), under(repository))
        except OciError:
            return False
        return True

    def add(self, repository: Repository) -> None:
        """Let a repository have the blob as well."""
        self.has.add((str(repository), f"blobs/{BLOB.digest}"))


async def refusal(world: World, repository: Repository, who: str | None, path: str = "manifests/1") -> type[OciError]:
    with pytest.raises(OciError) as caught:
        await world.enter(repository, who, path)
    assert "right" not in str(caught.value)
    return type(caught.value)


def test_who_is_let_in() -> None:
    async def test() -> None:
        world = World()
        assert (await world.enter(FREE)).is_own
        assert not (await world.enter(PUBLIC)).is_own
        assert await refusal(world, APP, None) is LoginRequired
        assert await refusal(world, APP, basic(":")) is LoginRequired
        assert await refusal(world, APP, MALLORY) is Denied
        assert (await world.enter(APP, ALICE)).authorization == ALICE
        await world.enter(APP, ALICE, "manifests/none")  # what is not there is found out behind the gate
        assert world.counted == {"public": 1, "login": 2, "denied": 1, "accepted": 2}
        assert ALICE not in repr(await world.enter(APP, ALICE))

    asyncio.run(test())


@pytest.mark.parametrize(
    ("path", "error"),
    [("manifests/none", ManifestUnknown), ("blobs/none", BlobUnknown), ("tags/list", NameUnknown)],
)
def test_that_something_does_not_exist_a_client_is_told_as_by_the_registry(path: str, error: type[OciError]) -> None:
    async def test() -> None:
        world = World()
        assert await refusal(world, APP, ALICE, path) is error
        assert await refusal(world, PUBLIC, None, path) is error

    asyncio.run(test())


def test_without_the_registry_only_what_was_accepted_lately_counts() -> None:
    async def test() -> None:
        world = World()
        await world.enter(APP, ALICE)
        await world.enter(PUBLIC)
        world.registry.is_down = True
        world.clock.now = 59.0
        await world.enter(APP, ALICE)
        world.clock.now = 61.0
        assert await refusal(world, APP, ALICE) is Unavailable
        world.clock.now = 1e6
        assert (await world.enter(PUBLIC)).repository == PUBLIC

    asyncio.run(test())


def test_a_request_that_came_round_asks_no_registry() -> None:
    async def test() -> None:
        world = World()
        with pytest.raises(Unavailable):
            await world.gate.enter(APP, "manifests/1", ALICE, may_ask=False)
        world.marks.add(BLOB.digest, Mark.of(APP))
        with pytest.raises(BlobUnknown):
            await world.gate.release(Passage(PUBLIC, is_own=False, may_ask=False), under(PUBLIC))
        assert not world.registry.asked

    asyncio.run(test())


def test_a_password_of_the_cluster_opens_all_and_goes_to_no_registry() -> None:
    async def test() -> None:
        world = World()
        await world.enter(APP, basic(f"any:{CLUSTER_PASSWORD}"))
        assert await refusal(world, APP, basic("any:2." + "0" * 64)) is LoginRequired
        assert {who for _, _, who in world.registry.asked} == {None}

    asyncio.run(test())


def test_marked_content_is_released_under_names_that_have_it() -> None:
    async def test() -> None:
        world = World()
        assert await world.gets(PUBLIC), "without a mark it came without credentials"
        world.marks.add(BLOB.digest, Mark.of(APP))
        assert await world.gets(APP, ALICE)
        assert not await world.gets(PUBLIC)
        assert not await world.gets(OTHER, MALLORY)
        assert not await world.gets(FREE)
        assert world.counted["withheld"] == 3
        world.add(OTHER)
        assert not await world.gets(OTHER, MALLORY), "that it was not there is remembered for a moment"
        world.clock.now = 10.0
        assert await world.gets(OTHER, MALLORY)
        assert not await world.gets(PUBLIC)
        world.registry.is_down = True
        assert await world.gets(OTHER, MALLORY), "what was found out stays so"

    asyncio.run(test())


def test_content_of_a_free_name_is_free_to_all() -> None:
    async def test() -> None:
        for free in (PUBLIC, FREE):
            world = World()
            await world.enter(PUBLIC)
            world.marks.add(BLOB.digest, Mark.of(APP) | Mark.of(free))
            assert await world.gets(OTHER, MALLORY)

    asyncio.run(test())


def test_what_a_runtime_claims_opens_nothing_unless_all_of_it_is_free() -> None:
    async def test() -> None:
        world = World()
        await world.enter(PUBLIC)
        world.marks.add(BLOB.digest, Mark(claimed=frozenset({str(APP), str(PUBLIC)})))
        assert not await world.gets(PUBLIC)
        assert not await world.gets(OTHER, MALLORY)
        assert await world.gets(APP, ALICE), "the registry has it there"
        other = World()
        await other.enter(PUBLIC)
        other.marks.add(BLOB.digest, Mark(claimed=frozenset({str(FREE), str(PUBLIC)})))
        assert await other.gets(PUBLIC)

    asyncio.run(test())


def test_a_shared_name_has_what_this_node_itself_is_shown_there() -> None:
    async def test() -> None:
        world = World()
        world.marks.add(BLOB.digest, Mark.of(APP))
        world.registry.own.add(under(FREE))
        assert await world.gets(FREE)

    asyncio.run(test())


def test_off_is_answered_apart_unless_it_is_public() -> None:
    async def test() -> None:
        world = World(Sharing.OFF)
        assert (await world.enter(APP)).is_apart
        assert not (await world.enter(PUBLIC)).is_apart
        assert not world.offers.has_copy(frozenset({str(APP)}))
        assert world.offers.has_copy(frozenset({str(PUBLIC), str(FREE)}))

    asyncio.run(test())


@pytest.mark.parametrize(
    ("sharing", "keeps_marks", "is_given"),
    [(Sharing.CHECKED, True, True), (Sharing.CHECKED, False, False), (Sharing.OFF, True, False)],
)
def test_what_members_are_given(sharing: Sharing, keeps_marks: bool, is_given: bool) -> None:
    async def test() -> None:
        world = World(sharing)
        world.marks.add(BLOB.digest, Mark.of(APP))

        async def is_admitted(repository: Repository, *, is_home: bool) -> bool:
            try:
                await world.offers.admit(repository, "manifests/1", keeps_marks=keeps_marks, is_home=is_home)
            except Refusal:
                return not is_home  # a home says that it is unable
            except BlobUnknown:
                return is_home
            return True

        for is_home in (True, False):
            assert await is_admitted(APP, is_home=is_home) is is_given, "a holder says that it has no such thing"
            assert await is_admitted(PUBLIC, is_home=is_home)
            assert await is_admitted(FREE, is_home=is_home)
        if is_given:
            assert world.offers.mark(BLOB.digest, keeps_marks=keeps_marks) == Mark.of(APP)
        else:
            with pytest.raises(BlobUnknown):
                world.offers.mark(BLOB.digest, keeps_marks=keeps_marks)
        assert world.offers.mark(Digest.of(b"other"), keeps_marks=keeps_marks) is None

    asyncio.run(test())
