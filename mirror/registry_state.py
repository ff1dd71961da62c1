"""The part of a node that asks registries, with what it knows of them: what they let members ask, which do not answer.

It is put together here, told to the other members by notes, and shown to people.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from .app import BudgetStatus, OutageStatus, RegistryStatus
from .config import AgentConfig
from .events import Tell, nobody
from .routers import Listener, Topic
from .settings import Settings
from .sources.outages import Outages
from .sources.upstream import Upstream
from .sources.upstream.access import Access
from .sources.upstream.budgets import Budgets
from .sources.upstream.levels import Levels
from .sources.upstream.registries import known_registries
from .sources.upstream.requests import Tally
from .sources.watched import WatchedUpstream
from .sources.words import Words
from .stores.marks import Marks


class RegistryState:
    """Upstream, and what is known of it.

    Args:
        config: which registries there are.
        settings: bounds and durations.
        tell: tells all other members a note.
        passed_on: the marks that requests to registries have to have.
        tally: counts how they answer.
        marks: takes note of what needs credentials.
        on_event: told when a registry becomes scarce, does not answer, or is back.
    """

    def __init__(  # noqa: PLR0913 - what a node knows registries by
        self,
        config: AgentConfig,
        settings: Settings,
        tell: Callable[[Topic, bytes], None],
        *,
        passed_on: Callable[[], Sequence[str]],
        tally: Tally,
        marks: Marks,
        on_event: Tell = nobody,
    ) -> None:
        self._config = config
        self._known = known_registries(config.upstream)
        self.budgets = Budgets(settings.upstream.budgets, partial(tell, Topic.BUDGETS))
        self._names = {url.url: name for name, urls in self._known.items() for url in urls}
        Levels(self.budgets, self._names, on_event, _later)
        self.outages = Outages(settings.outages)
        self.words = Words(
            settings.outages, config.name, self._known, partial(tell, Topic.OUTAGES), first_number=time.time_ns()
        )
        access = Access(config.upstream_auth, config.upstream_proxy)
        self.upstream = Upstream(
            config.upstream,
            settings.upstream,
            access,
            passed_on=passed_on,
            tally=tally,
            budgets=self.budgets,
            marks=marks,
        )
        self.watched = WatchedUpstream(
            self.upstream, self.outages, settings.outages, config.offline, self.words, on_event
        )

    def listeners(self) -> Mapping[Topic, Listener]:
        """Who hears what other members say of registries."""
        return {
            Topic.BUDGETS: Listener(self.upstream.heard, self.upstream.state),
            Topic.OUTAGES: Listener(self.watched.heard, self.watched.state),
        }

    def shown_budgets(self) -> list[BudgetStatus]:
        """What registries still let the members ask."""
        names, now = self._names, time.monotonic()
        return [
            BudgetStatus(
                names[note.url],
                note.source,
                note.remaining,
                note.limit,
                note.window_s,
                note.wait_s(now, is_pull=True),
                now - note.at,
                note.refused.name.lower(),
            )
            for note in self.budgets.shown(now)
            if note.url in names
        ]

    def shown_outages(self) -> list[OutageStatus]:
        """Which registries do not answer this node, or others."""
        now = time.monotonic()
        mine, words = self.outages.shown(now), self.words
        names = sorted(mine.keys() | words.registries(now))
        return [OutageStatus(name, mine.get(name), sorted(words.others(name, now))) for name in names]

    def shown(self, name: str) -> RegistryStatus:
        """All that is known of one registry."""
        urls = [it.url for it in self._known.get(name, ())]
        budgets = [asdict(row) for row in self.shown_budgets() if row.registry == name]
        out = self.outages.why(name, time.monotonic())
        return RegistryStatus(name, urls, name in self._config.offline, out, budgets)


def _later(seconds: float, do: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, do)
