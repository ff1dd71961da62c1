"""`python -m bench viewers`: what the status page costs the agent that many browsers look at, and how soon it is seen.

Agents on loopback know each other. The viewers ask one of them for what the page asks, as often as the page does while
something is pulled, over a connection each. Then Chromium, which runs already, opens the page: how long until it
is painted.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
from rich.console import Console

from testbed.agents import Agent
from testbed.chromium import browser
from testbed.processes import wait_until

from .machine import need, workplace
from .report import Cell, Goal, Report, Samples, Table
from .rounds import Budget, rounds
from .servers import LoneAgent

BUDGET = Budget(60.0, 3, 5)
MEMBERS: Final = 5
VIEWERS: Final = 20
_LOOK_S: Final = 10.0
"""Time for which CPU time is counted, s: it is told in hundredths of a second."""
_CPU_PERCENT: Final = 3.0
_PAINT_S: Final = 0.3
_PAGE_KB: Final = 60
_ASKED: Final = (("/api/v1/status", 1.0, ""), ("/api/v1/images", 30.0, "max-age=30"), ("/api/v1/events", 4.0, ""))
"""What a page asks, how often, s, and how old the answer may be."""
_PAINT: Final = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_SIZE: Final = "performance.getEntriesByType('navigation')[0].encodedBodySize"


async def _view(http: aiohttp.ClientSession, url: str, number: int, until: float) -> None:
    """Ask as one page does, and take all answers."""

    async def ask(path: str, every_s: float, caching: str) -> None:
        headers = {"Cache-Control": caching} if caching else {}
        await asyncio.sleep(number / VIEWERS * min(every_s, 1.0))
        while time.monotonic() < until:
            async with http.get(url + path, headers=headers) as answer:
                await answer.read()
                headers["If-None-Match"] = answer.headers.get("ETag", "")
            await asyncio.sleep(min(every_s, until - time.monotonic()) if until > time.monotonic() else 0)

    await asyncio.gather(*(ask(*asked) for asked in _ASKED))


async def _watch(agent: Agent, viewers: int) -> float:
    """The share of a core that an agent takes while some look at it."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        until = time.monotonic() + _LOOK_S
        before = agent.usage().cpu_s
        await asyncio.gather(
            *(_view(http, agent.url, number, until) for number in range(viewers)), asyncio.sleep(_LOOK_S)
        )
        return (agent.usage().cpu_s - before) / _LOOK_S


async def _open(url: str) -> tuple[float, float]:
    """When the page is painted first, s after it is asked for, and its size in kB."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with browser(Path(folder)) as chromium:
            page = await chromium.page()
            await page.send("Network.setCacheDisabled", cacheDisabled=True)
            await page.open(f"{url}/")  # the browser starts a process for that address
            await page.until(_PAINT)
            await page.open(f"{url}/?")
            paint_ms, size = await page.until(_PAINT), await page.run(_SIZE)
    return float(paint_ms) / 1000, float(size) / 1000


def measure(console: Console, folder: Path | None) -> Report:
    """Run it all: about a minute."""
    need(chromium="chromium")
    alone, watched, paint, sizes = Samples(), Samples(), Samples(), Samples()
    with workplace(folder, 64 << 20) as place, ExitStack() as stack, console.status("starting agents") as status:
        agents: list[LoneAgent] = []
        for number in range(MEMBERS):
            seeds = [agents[0].gossip] if agents else []
            agents.append(stack.enter_context(LoneAgent(place / f"n{number}", join=seeds)))
        wait_until(partial(_know_all, agents), "all agents to know each other")
        for number in rounds(BUDGET):
            status.update(f"looking, round {number + 1}")
            alone.values.append(asyncio.run(_watch(agents[0], 0)))
            watched.values.append(asyncio.run(_watch(agents[0], VIEWERS)))
            painted, size = asyncio.run(_open(agents[0].url))
            paint.values.append(painted)
            sizes.values.append(size)
    cost = Samples([with_them - without for with_them, without in zip(watched.values, alone.values, strict=True)])
    row: dict[str, Cell] = {"alone": alone, "watched": watched, "paint": paint, "size": sizes}
    table = Table.of(
        f"The status page of one of {MEMBERS} agents",
        {},
        {
            "alone": ("core, nobody looks", ".1%"),
            "watched": (f"core, {VIEWERS} look", ".1%"),
            "paint": ("first paint, s", ".3f"),
            "size": ("page, kB", ".1f"),
        },
        [row],
    )
    goals = [
        Goal(f"what {VIEWERS} viewers take of a core, %", _CPU_PERCENT, 100 * cost.median, most=True),
        Goal("first paint of the page, s", _PAINT_S, paint.median, most=True),
        Goal("the page, kB", _PAGE_KB, sizes.median, most=True),
    ]
    return Report("viewers", [table], goals)


def _know_all(agents: Sequence[Agent]) -> bool:
    return all(len(agent.alive()) == MEMBERS for agent in agents)
