"""Credentials of clients: read from a header, checked once, good for a while, and kept by nobody."""

import asyncio
import base64
import gc

import pytest

from mirror.access import Checks
from mirror.access.checks import is_of_cluster, password_in, presented
from mirror.errors import UpstreamError
from mirror.oci.reference import Repository
from mirror.settings import AccessSettings
from mirror.sources import Shown
from mirror.sources.peers.auth import PeerAuth
from tests.unit.mirror.access.registry import Clock, FakeRegistry

APP, OTHER = Repository("docker.io", "team/app"), Repository("docker.io", "team/other")
SETTINGS = AccessSettings(refused_s=5.0, verdicts_max=2)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


ALICE = basic("alice:right")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (None, None),
        ("", None),
        (basic(":"), None),
        ("Basic ***", None),
        ("Basic", None),
        ("Digest x", None),
        ("Bearer two words", None),
        ("Bearer " + "x" * 9000, None),
        (ALICE, ALICE),
        (ALICE.replace("Basic", "basic "), ALICE),
        ("bearer abc.def", "Bearer abc.def"),
    ],
)
def test_what_a_client_presents(header: str | None, value: str | None) -> None:
    assert presented(header, 8192) == value


def test_a_password_of_the_cluster_is_known_by_its_form() -> None:
    made = PeerAuth([bytes(range(32))]).password(60)
    assert is_of_cluster(password_in(basic(f"any:{made}")))
    assert not is_of_cluster(password_in(ALICE))
    assert password_in("Bearer abc") == password_in(None) == ""


def test_what_was_accepted_counts_for_one_repository_and_its_time() -> None:
    async def test() -> None:
        clock, registry = Clock(), FakeRegistry(lambda *_: Shown.YES)
        checks = Checks(registry, SETTINGS, clock)
        asking = (checks.check(APP, "manifests/1", ALICE, 60.0) for _ in range(3))
        assert await asyncio.gather(*asking) == [Shown.YES] * 3
        assert await checks.check(APP, "blobs/x", ALICE, 60.0) is Shown.YES
        assert registry.asked.total() == 1
        assert checks.known(OTHER, ALICE, 60.0) is None
        assert checks.known(APP, basic("alice:other"), 60.0) is None
        clock.now = 61.0
        assert checks.known(APP, ALICE, 60.0) is None

    asyncio.run(test())


def test_a_refusal_counts_for_moments_and_an_absence_not_at_all() -> None:
    async def test() -> None:
        clock, answers = Clock(), [Shown.REFUSED]
        registry = FakeRegistry(lambda *_: answers[-1])
        checks = Checks(registry, SETTINGS, clock)
        assert await checks.check(APP, "manifests/1", ALICE, 60.0) is Shown.REFUSED
        answers.append(Shown.ABSENT)
        assert await checks.check(APP, "manifests/1", ALICE, 60.0) is Shown.REFUSED
        clock.now = 6.0
        assert await checks.check(APP, "manifests/1", ALICE, 60.0) is Shown.ABSENT
        answers.append(Shown.YES)
        assert await checks.check(APP, "manifests/2", ALICE, 60.0) is Shown.YES

    asyncio.run(test())


def test_no_answer_is_no_verdict() -> None:
    async def test() -> None:
        registry = FakeRegistry(lambda *_: Shown.YES)
        registry.is_down = True
        checks = Checks(registry, SETTINGS)
        with pytest.raises(UpstreamError):
            await checks.check(APP, "manifests/1", ALICE, 60.0)
        assert checks.known(APP, ALICE, 60.0) is None

    asyncio.run(test())


def test_nothing_that_was_presented_stays_in_memory() -> None:
    async def test() -> None:
        checks = Checks(FakeRegistry(lambda *_: Shown.YES), SETTINGS)
        for number in range(3):
            await checks.check(APP, "manifests/1", basic(f"alice:secret-{number}"), 60.0)
        assert checks.known(APP, basic("alice:secret-0"), 60.0) is None, "it is bounded"
        gc.collect()
        kept = repr(vars(checks))
        assert "secret" not in kept
        assert basic("alice:secret-2").removeprefix("Basic ") not in kept

    asyncio.run(test())
