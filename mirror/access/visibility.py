"""Visibility: whether a repository is public, as its registry tells anybody who asks.

An agent with credentials shows them to a registry whenever that wants a token, so their use says nothing of whether a
repository needs them. So the registry is asked once as anybody, for what the client wants: HEAD of a manifest, which
Docker Hub does not count. That costs one question an hour for each repository, and only where the operator's policy
makes a difference.

What is public stays so while the registry does not answer, also after a restart: it was public before, and a cluster
must go on serving it. All else is private until the registry shows it to anybody.
"""

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UpstreamError
from ..fileio import read_small, replace
from ..oci.reference import Repository
from ..settings import AccessSettings
from ..sources import GuestSource, Shown
from ..stores.marks import is_repository

log = logging.getLogger(__name__)

_FILE_MAX_BYTES = 4 * 1024 * 1024
"""Bounds the file of public repositories, in bytes: more than so many names as are remembered."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a registry said of a repository, and when, monotonic seconds; `-inf` if an earlier process was told."""

    is_public: bool
    at: float


class Visibility:
    """Knows which repositories are public.

    Args:
        source: asks registries.
        file: where it is kept which are public; None: nowhere.
        settings: for how long an answer counts, and how many are remembered.
        now: monotonic seconds.
    """

    def __init__(
        self,
        source: GuestSource,
        file: Path | None = None,
        settings: AccessSettings | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._file = file
        self._settings = settings or AccessSettings()
        self._now = now
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Shown]] = {}
        self._writing = asyncio.Lock()

    async def start(self) -> None:
        """Read what an earlier process was told."""
        if self._file is not None:
            for name in await asyncio.to_thread(_read, self._file):
                self._answers[name] = _Answer(is_public=True, at=float("-inf"))

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def is_known_public(self, name: str) -> bool:
        """Whether a repository, by its name as text, was public when that was last asked."""
        answer = self._answers.get(name)
        return answer is not None and answer.is_public

    async def shown(self, repository: Repository, path: str, *, may_ask: bool = True) -> Shown:
        """What anybody is shown of a repository: `YES` if it is public.

        Args:
            repository: which.
            path: what somebody wants of it, below its own path; `ABSENT` where the registry has no such thing for
                anybody, and is not known to show anything else.
            may_ask: whether the registry may be asked; if not, what is known counts, however old.
        """
        name = str(repository)
        if not may_ask or self._is_fresh(name):
            return self._known(name)
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._ask(repository, path))
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(task)

    def _known(self, name: str) -> Shown:
        return Shown.YES if self.is_known_public(name) else Shown.REFUSED

    def _is_fresh(self, name: str) -> bool:
        answer = self._answers.get(name)
        if answer is None:
            return False
        fresh_s = self._settings.public_s if answer.is_public else self._settings.private_s
        return self._now() - answer.at < fresh_s

    async def _ask(self, repository: Repository, path: str) -> Shown:
        """Ask as anybody. That something does not exist says nothing of the repository."""
        name = str(repository)
        try:
            shown = await self._source.shows(repository, path, None)
        except UpstreamError as error:
            log.info("whether %s is public is not known: %s", name, error)
            return self._known(name)
        if shown is Shown.ABSENT:
            return Shown.YES if self.is_known_public(name) else Shown.ABSENT
        was_public = self.is_known_public(name)
        is_public = shown is Shown.YES
        self._answers[name] = _Answer(is_public, self._now())
        self._answers.move_to_end(name)
        while len(self._answers) > self._settings.repositories_max:
            self._answers.popitem(last=False)
        if is_public is not was_public:
            log.info("%s is %s", name, "public" if is_public else "private")
            await self._save()
        return shown

    async def _save(self) -> None:
        if self._file is None:
            return
        async with self._writing:
            names = [name for name, answer in self._answers.items() if answer.is_public]
            try:
                await asyncio.to_thread(replace, self._file, json.dumps(names).encode())
            except OSError as error:
                log.warning("cannot write down which repositories are public: %s", error.strerror)


def _read(file: Path) -> list[str]:
    """The names in a file; none if there is no such file, or it is damaged: then the registries are asked again."""
    try:
        content, _ = read_small(file, _FILE_MAX_BYTES)
        names: Any = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str) and is_repository(name)] if isinstance(names, list) else []
