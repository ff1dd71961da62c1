"""The status page in Debian's Chromium: what it shows, on what, and what nobody can do with it."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from mirror.app import NoPages
from testbed.agents import Agent
from testbed.chromium import Browser, BrowserError, Page, browser, is_installed
from tests.clients.status_page import scenes
from tests.clients.status_page.scenes import HOSTILE, Scene
from tests.loopback.nodes import serving, serving_by

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

T = TypeVar("T")
PHONE, DESKTOP = (360, 740), (1200, 900)
LOADED = "!!document.querySelector('#members tr') && !!document.querySelector('#images tr, #no-images:not([hidden])')"
HAPPENED = "!!document.querySelector('#events li')"
"""The events come by a question of their own."""
TEXT = "document.body.innerText"
PAGE_MAX_BYTES = 60_000
SHOWN = (
    "Skvaller n0",
    "Nothing that this node knows of",
    "postgres:17",
    "n1 31.0 MiB",
    "upstream 14.0 MiB",
    "cache, here already 7.0 MiB",
    "29.6 MiB/s",
    "84 of 100 pulls left",
    "5 copies",
    "n1 joined",
)


class Chromium:
    """A browser, and the loop that it is driven by."""

    def __init__(self, runner: asyncio.Runner, browser: Browser) -> None:
        self._runner = runner
        self._browser = browser

    def run(self, test: Callable[[Page], Coroutine[Any, Any, T]]) -> T:
        """Run a test with a new tab, which is closed at the end."""

        async def with_tab() -> T:
            page = await self._browser.page()
            try:
                return await test(page)
            finally:
                await page.send("Page.close")

        return self._runner.run(with_tab())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    if not is_installed():
        pytest.skip("not installed: chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, asyncio.Runner() as runner:
        opened = browser(Path(folder))
        started = runner.run(opened.__aenter__())
        yield Chromium(runner, started)
        runner.run(opened.__aexit__(None, None, None))


@contextlib.asynccontextmanager
async def shown(page: Page, scene: Scene, size: tuple[int, int] = DESKTOP, **app: Any) -> AsyncIterator[str]:
    """Show a scene; give its address."""
    async with serving(scene.app(**app)) as port:
        await page.look(*size)
        await page.open(f"http://127.0.0.1:{port}/")
        await page.until(LOADED)
        yield f"http://127.0.0.1:{port}"


def test_it_shows_who_is_there_what_is_pulled_and_from_where_and_loads_nothing_else(chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        async with shown(page, scenes.fan_out()) as url:
            await page.until(HAPPENED)
            text = await page.run(TEXT)
            assert [words for words in SHOWN if words not in text] == []
            assert {it.startswith((url, "data:")) for it in page.requests} == {True}
            assert page.complaints == []
            size = await page.run("performance.getEntriesByType('navigation')[0].encodedBodySize")
            assert 10_000 < size <= PAGE_MAX_BYTES

    chromium.run(look)


def test_what_is_wrong_is_said_with_the_command_that_mends_it(chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        async with shown(page, scenes.in_trouble()):
            commands = await page.run("[...document.querySelectorAll('.mend')].map((it) => it.textContent)")
            assert {"systemctl restart skvaller", "skvaller doctor", "skvaller prefetch quay.io/a/b:1"} <= set(commands)
            assert "To start it, on n2:" in await page.run(TEXT)
            assert f"{len(commands)} things wrong" in await page.run("document.title")
            names = await page.run(
                "[...document.querySelectorAll('#members th')].map((it) => it.innerText.split('\\n')[0])"
            )
            assert names == ["n2", "n4", "n6", "n3", "n5", "n0", "n1", "n7"]

    chromium.run(look)


def test_nothing_that_others_say_becomes_markup_or_runs(chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        async with shown(page, scenes.hostile()) as url:
            await page.until(HAPPENED)
            await page.run("document.querySelector('#images button').click()")
            await page.until("!!document.querySelector('#why-body table')")
            assert await page.run("window.hit") is None
            assert await page.run("document.querySelectorAll('img, script').length") == 1
            text = await page.run(TEXT)
            assert text.count("<script>") > 20
            assert "\\u{202e}gnp.exe\\u{7}" in text
            assert not set(HOSTILE[-9:]) & {"\u202e", "\u0007"} & set(text)
            assert {it.startswith((url, "data:")) for it in page.requests} == {True}
            assert page.complaints == []
            for forbidden in ("document.body.innerHTML = '<b>x</b>'", "eval('1')"):
                with pytest.raises(BrowserError, match=r"TrustedHTML|TrustedScript|Content Security Policy"):
                    await page.run(forbidden, allowUnsafeEvalBlockedByCSP=False)

    chromium.run(look)


@pytest.mark.parametrize(
    "scene",
    [scenes.empty, scenes.usual, scenes.fan_out, scenes.in_trouble, scenes.crowded, scenes.long_names, scenes.hostile],
)
def test_it_fits_on_a_phone(scene: Callable[[], Scene], chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        async with shown(page, scene(), PHONE):
            assert await page.run("document.documentElement.scrollWidth") <= PHONE[0]
            too_wide = "[...document.querySelectorAll('td, th, li, p:not(.unseen)')]"
            too_wide += ".filter((it) => it.scrollWidth > it.clientWidth + 1).map((it) => it.innerText)"
            assert await page.run(too_wide) == []

    chromium.run(look)


def test_it_is_used_with_the_keyboard_alone(chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        async with shown(page, scenes.usual()):
            focus = "document.activeElement.innerText"
            await page.press("Tab")
            assert await page.run(focus) == "Skip to what is wrong"
            await page.press("Tab")
            assert await page.run(focus) == "nginx:1.27"
            await page.press("Enter")
            await page.until("!!document.querySelector('#why-body table')")
            assert await page.run("document.querySelector('#why').contains(document.activeElement)")
            assert "a note about docker.io/library/nginx:1.27" in await page.run(
                "document.querySelector('#why').innerText"
            )
            await page.press("Escape")
            await page.until("!document.querySelector('#why').open")
            assert await page.run(focus) == "nginx:1.27"

    chromium.run(look)


def test_a_screen_reader_hears_it_in_order(chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        async with shown(page, scenes.fan_out()):
            await page.until(HAPPENED)
            nodes = (await page.send("Accessibility.getFullAXTree"))["nodes"]
            said = [(it["role"]["value"], it.get("name", {}).get("value", "")) for it in nodes if not it["ignored"]]
            heads = [name.split("  ")[0] for role, name in said if role == "heading"]
            assert [head.split()[0] for head in heads] == [
                "Skvaller",
                "What",
                "Pulls",
                "Members",
                "Images",
                "Registries",
                "What",
            ]
            bars = [name for role, name in said if role in ("image", "img")]
            assert any("82.0 MiB of 131 MiB; n1 31.0 MiB" in name for name in bars)
            assert sum(role == "table" for role, _ in said) == 2
            assert ("rowheader", "n1 10.0.0.2:5001") in said
            assert ("columnheader", "State") in said

    chromium.run(look)


def test_it_says_when_the_agent_is_gone_and_comes_back_by_itself(chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        scene = scenes.usual()
        await page.look(*DESKTOP)
        async with serving_by(scene.app()) as (_, port):
            await page.open(f"http://127.0.0.1:{port}/")
            await page.until(LOADED)
        await page.pass_time(5)
        await page.until("!document.querySelector('#lost').hidden")
        assert "has not answered since" in await page.run(TEXT)
        scene.statuses = scenes.members(2)
        async with serving_by(scene.app(), port):
            await page.pass_time(10)
            await page.until("document.querySelector('#lost').hidden")
            await page.until("document.querySelectorAll('#members tr').length === 2")
            await page.run("window.isOld = true")
            scene.version = "0.2.0"
        async with serving_by(scene.app(), port):
            await page.pass_time(10)
            await page.until("window.isOld === undefined && document.body.innerText.includes('0.2.0')")

    chromium.run(look)


def test_a_tab_that_nobody_sees_asks_nothing(chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        scene = scenes.usual()
        async with shown(page, scene):
            await page.run(
                "Object.defineProperty(document, 'hidden', { get: () => window.isHidden, configurable: true })"
            )
            await page.run("window.isHidden = true")
            await page.pass_time(60)  # what was due finds it hidden
            before = len(scene.asked)
            await page.pass_time(60)
            assert len(scene.asked) == before
            await page.run("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
            await page.pass_time(60)
            asked = Counter(scene.asked[before:])
            assert 20 <= asked["/api/v1/status"] <= 35
            assert 2 <= asked["/api/v1/images"] <= 3
            assert asked["/api/v1/events"] <= 16

    chromium.run(look)


def test_when_a_pull_has_ended_all_are_asked_what_they_hold_now(chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        scene = scenes.fan_out()
        async with shown(page, scene):
            before = scene.asked.count("/api/v1/images")
            scene.fetches, scene.clients = [], []
            await page.pass_time(5)
            assert not await page.run("document.querySelector('#no-pulls').hidden")
            assert scene.asked.count("/api/v1/images") == before + 1

    chromium.run(look)


def test_without_events_it_is_whole(chromium: Chromium) -> None:
    async def look(page: Page) -> None:
        async with shown(page, scenes.usual(), has_events=False):
            assert await page.run("document.querySelector('#events-section').hidden")

    chromium.run(look)


EVIL = """<html xmlns="http://www.w3.org/1999/xhtml"><body><p>here</p><script>window.hit = 1;
fetch("/api/v1/status").then(() => { window.read = 1; });</script></body></html>"""


def test_a_manifest_that_is_a_document_runs_no_script(chromium: Chromium) -> None:
    """Anybody can push a manifest of any type `application/…`; somebody types its address."""

    async def evil(scope: Any, receive: Any, send: Any) -> None:
        kind = (b"content-type", b"application/xhtml+xml")
        await send({"type": "http.response.start", "status": 200, "headers": [kind]})
        await send({"type": "http.response.body", "body": EVIL.encode()})

    async def look(page: Page) -> None:
        for app, hit in ((evil, 1), (NoPages(evil, ()), None)):
            async with serving(app) as port:
                await page.open(f"http://127.0.0.1:{port}/v2/x/manifests/1")
                assert await page.until("document.querySelector('p').textContent") == "here"
                assert await page.run("window.hit") == hit

    chromium.run(look)


ATTACK = """<!doctype html><img src="{agent}/v2/library/x/manifests/1"><iframe src="{agent}/"></iframe>
<script src="{agent}/v2/library/x/blobs/sha256:{digest}"></script>
<script>
const ask = (path, body) =>
  fetch("{agent}" + path, {{ method: body ? "POST" : "GET", mode: "no-cors", body }});
const read = () => fetch("{agent}/api/v1/status").then((it) => it.text(), () => "nothing");
const tries = [
  ask("/api/v1/status"), ask("/metrics"), ask("/readyz"),
  ask("/api/v1/prune", "{{}}"), ask("/v2/x/blobs/uploads/", "x"),
];
Promise.allSettled(tries).then(read).then((text) => {{ window.got = text; }});
</script>"""


def test_a_real_agent_shows_itself_and_answers_no_other_sites_page(
    chromium: Chromium, start_agent: Callable[..., Agent], loopback: Callable[[], str]
) -> None:
    agent = start_agent("a", loopback(), "--push", "any")

    async def look(page: Page) -> None:
        await page.look(*DESKTOP)
        await page.open(f"{agent.url}/")
        await page.until(LOADED)
        assert "Skvaller a" in await page.run(TEXT)
        assert "No member holds an image yet" in await page.run(TEXT)

        async def attack(request: Any) -> HTMLResponse:
            return HTMLResponse(ATTACK.format(agent=agent.url, digest="0" * 64))

        async with serving(Starlette(routes=[Route("/", attack)])) as port:
            page.answered.clear()
            await page.open(f"http://127.0.0.1:{port}/")
            assert await page.until("window.got") == "nothing"
        answers = {url.removeprefix(agent.url): status for url, status in page.answers() if url.startswith(agent.url)}
        assert len(answers) >= 7
        assert {path: status for path, status in answers.items() if status != 403} == {}

    chromium.run(look)
