"""Lookups of names: one hangs and no other one waits, and what was found is used while nothing newer is."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mirror.settings import NameSettings
from mirror.sources.upstream.names import Address, Names

SETTINGS = NameSettings(wait_s=0.05, renewal_s=0.05, fresh_s=60.0, kept_s=1000.0, failed_s=5.0, lookups_max=3)


class System:
    """A machine's resolver: a table, and names for which it does not come back before it is told to."""

    def __init__(self, **table: str) -> None:
        self.table = table
        self.hung: dict[str, threading.Event] = {}
        self.asked: list[str] = []

    def hang(self, *names: str) -> None:
        self.hung.update({name: threading.Event() for name in names})

    def let_go(self) -> None:
        for event in self.hung.values():
            event.set()

    def __call__(self, host: str, port: None, **options: Any) -> list[Any]:
        assert options == {"type": socket.SOCK_STREAM, "flags": socket.AI_ADDRCONFIG}
        self.asked.append(host)
        if host in self.hung:
            self.hung[host].wait()
        if host not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.table[host], 0))]


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time also passes when the test says so."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def run(story: Callable[[Names, System, Clock], Coroutine[Any, Any, None]], *registries: str) -> None:
    system = System(registry="10.0.0.1", other="10.0.0.2")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clock)
        try:
            await story(Names(registries, SETTINGS, system), system, loop)
        finally:
            system.let_go()

    with asyncio.Runner(loop_factory=Clock) as runner:
        runner.run(main())


async def text(names: Names, host: str) -> str:
    (address,) = await names.addresses(host)
    return address.text


async def error(names: Names, host: str) -> str:
    with pytest.raises(socket.gaierror) as caught:
        await names.addresses(host)
    return str(caught.value.strerror)


def test_a_hung_lookup_holds_up_nobody_who_wants_another_name() -> None:
    async def story(names: Names, system: System, clock: Clock) -> None:
        hung = [f"hung-{number}" for number in range(3)]
        system.hang(*hung)
        waiting = [asyncio.create_task(error(names, host)) for host in hung for _ in range(4)]
        await asyncio.sleep(0)
        assert await text(names, "registry") == "10.0.0.1"
        assert set(await asyncio.gather(*waiting)) == {"no name server answered within 0.05 s"}
        assert sorted(system.asked) == sorted([*hung, "registry"])

    run(story, "registry")


def test_registries_are_looked_up_however_many_others_hang_and_others_are_not() -> None:
    async def story(names: Names, system: System, clock: Clock) -> None:
        hung = [f"hung-{number}" for number in range(SETTINGS.lookups_max)]
        system.hang(*hung)
        for host in hung:
            assert await error(names, host) == "no name server answered within 0.05 s"
        assert await error(names, "other") == "3 other names are being looked up"
        assert await text(names, "registry") == "10.0.0.1"

    run(story, "registry")


def test_who_comes_while_a_name_server_is_silent_does_not_wait_and_gets_what_comes_late() -> None:
    async def story(names: Names, system: System, clock: Clock) -> None:
        system.hang("registry")
        assert "no name server" in await error(names, "registry")
        before = clock.time()
        assert "no name server" in await error(names, "registry")
        assert clock.time() - before < SETTINGS.wait_s
        system.let_go()
        while True:
            try:
                assert await text(names, "registry") == "10.0.0.1"
                break
            except OSError:
                await asyncio.sleep(0)
        assert system.asked == ["registry"]

    run(story)


def test_an_answer_is_used_while_it_is_fresh_and_beyond_that_where_there_is_no_newer_one() -> None:
    async def story(names: Names, system: System, clock: Clock) -> None:
        assert await text(names, "registry") == "10.0.0.1"
        system.table["registry"] = "10.0.0.7"
        assert await text(names, "registry") == "10.0.0.1"
        clock.ahead += 61
        assert await text(names, "registry") == "10.0.0.7"
        del system.table["registry"]
        clock.ahead += 61
        assert await text(names, "registry") == "10.0.0.7"
        clock.ahead += 1000
        assert await error(names, "registry") == "Name or service not known"

    run(story)


def test_an_old_answer_is_used_while_the_name_server_is_silent() -> None:
    async def story(names: Names, system: System, clock: Clock) -> None:
        assert await text(names, "registry") == "10.0.0.1"
        system.hang("registry")
        clock.ahead += 61
        for _ in range(3):
            assert await text(names, "registry") == "10.0.0.1"
        assert system.asked == ["registry", "registry"]

    run(story)


def test_a_failure_is_repeated_for_a_while_and_then_asked_again() -> None:
    async def story(names: Names, system: System, clock: Clock) -> None:
        for _ in range(3):
            assert await error(names, "new") == "Name or service not known"
        assert system.asked == ["new"]
        system.table["new"] = "10.0.0.9"
        clock.ahead += 6
        assert await text(names, "new") == "10.0.0.9"

    run(story)


def test_a_name_that_no_host_can_have_and_one_who_goes_away_harm_nobody() -> None:
    async def story(names: Names, system: System, clock: Clock) -> None:
        system.hang("registry")
        leaving, staying = (asyncio.create_task(names.addresses("registry")) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        system.let_go()
        assert await staying == (Address(socket.AF_INET, "10.0.0.1"),)

    run(story)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_lookup_that_fails_as_nobody_thought_of_is_a_failure_like_others() -> None:
    async def story() -> None:
        def look_up(*_: Any, **__: Any) -> list[Any]:
            raise ValueError("odd")

        assert await error(Names([], SETTINGS, look_up), "registry") == "the lookup failed"

    asyncio.run(story())
    for thread in threading.enumerate():
        if thread.name == "look up":
            thread.join()  # what it raises belongs to this test, not to the next one


def test_the_real_resolver_knows_this_machine() -> None:
    async def story() -> None:
        names = Names([], NameSettings())
        assert "127.0.0.1" in {address.text for address in await names.addresses("localhost")}
        with pytest.raises(UnicodeError):
            await names.addresses("a" * 64 + ".example")

    asyncio.run(story())
