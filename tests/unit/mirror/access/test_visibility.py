"""Whether repositories are public: asked once, kept while the registry is away, and fail-closed."""

import asyncio
from pathlib import Path

from mirror.access import Visibility
from mirror.oci.reference import Repository
from mirror.settings import AccessSettings
from mirror.sources import Shown
from tests.unit.mirror.access.registry import Clock, FakeRegistry

APP, SETTINGS = Repository("docker.io", "team/app"), AccessSettings(public_s=100.0, private_s=10.0, repositories_max=2)


def test_all_who_want_to_know_ask_once_as_anybody() -> None:
    async def test() -> None:
        registry = FakeRegistry(lambda *_: Shown.YES)
        visibility = Visibility(registry, settings=SETTINGS)
        assert await asyncio.gather(*(visibility.shown(APP, "manifests/1") for _ in range(5))) == [Shown.YES] * 5
        assert await visibility.shown(APP, "manifests/2") is Shown.YES
        assert registry.asked == {(str(APP), "manifests/1", None): 1}

    asyncio.run(test())


def test_an_answer_counts_for_its_time_and_changes_with_the_registry() -> None:
    async def test() -> None:
        clock, answers = Clock(), [Shown.REFUSED]
        visibility = Visibility(FakeRegistry(lambda *_: answers[-1]), settings=SETTINGS, now=clock)
        assert await visibility.shown(APP, "manifests/1") is Shown.REFUSED
        answers.append(Shown.YES)
        assert await visibility.shown(APP, "manifests/1") is Shown.REFUSED
        clock.now = 11.0
        assert await visibility.shown(APP, "manifests/1") is Shown.YES
        answers.append(Shown.REFUSED)
        clock.now = 100.0
        assert await visibility.shown(APP, "manifests/1") is Shown.YES
        clock.now = 112.0
        assert await visibility.shown(APP, "manifests/1") is Shown.REFUSED
        assert not visibility.is_known_public(str(APP))

    asyncio.run(test())


def test_what_is_unknown_is_private_and_what_was_public_stays_so_without_the_registry(tmp_path: Path) -> None:
    async def test() -> None:
        registry = FakeRegistry(lambda *_: Shown.YES)
        registry.is_down = True
        file = tmp_path / "public.json"
        first = Visibility(registry, file, SETTINGS)
        await first.start()
        assert await first.shown(APP, "manifests/1") is Shown.REFUSED
        registry.is_down = False
        assert await first.shown(APP, "manifests/1") is Shown.YES
        registry.is_down = True
        later = Visibility(registry, file, SETTINGS)
        await later.start()
        assert await later.shown(APP, "manifests/1") is Shown.YES
        assert await later.shown(Repository("docker.io", "team/other"), "manifests/1", may_ask=False) is Shown.REFUSED

    asyncio.run(test())


def test_that_one_name_does_not_exist_says_nothing_of_the_repository() -> None:
    async def test() -> None:
        registry = FakeRegistry(lambda _, path, __: Shown.YES if path == "manifests/1" else Shown.ABSENT)
        visibility = Visibility(registry, settings=SETTINGS)
        assert await visibility.shown(APP, "manifests/none") is Shown.ABSENT
        assert await visibility.shown(APP, "manifests/1") is Shown.YES
        assert await visibility.shown(APP, "manifests/none") is Shown.YES

    asyncio.run(test())


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    async def test() -> None:
        file = tmp_path / "public.json"
        file.write_text('["docker.io/team/app", "UPPER", 7')
        visibility = Visibility(FakeRegistry(lambda *_: Shown.REFUSED), file, SETTINGS)
        await visibility.start()
        assert not visibility.is_known_public(str(APP))

    asyncio.run(test())


def test_what_is_remembered_is_bounded() -> None:
    async def test() -> None:
        visibility = Visibility(FakeRegistry(lambda *_: Shown.YES), settings=SETTINGS)
        for number in range(3):
            await visibility.shown(Repository("docker.io", f"team/r{number}"), "manifests/1")
        known = [visibility.is_known_public(f"docker.io/team/r{number}") for number in range(3)]
        assert known == [False, True, True]

    asyncio.run(test())
