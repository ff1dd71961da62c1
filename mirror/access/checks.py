"""Checks: whose credentials a registry accepts for a repository.

The registry is asked with the client's own credentials for what the client wants. If it shows that, the credentials are
good for the repository for as long as the operator says. What a client presents is kept nowhere: it is known by a hash
with a key that this process made and that no other has, and only in memory.
"""

import asyncio
import base64
import binascii
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..oci.reference import Repository
from ..settings import AccessSettings
from ..sources import GuestSource, Shown

_TOKEN = re.compile(r"[!-~]+")
_OF_CLUSTER = re.compile(r"\d{1,20}\.[0-9a-f]{64}")
"""A password by which programs push, as `skvaller token` prints it."""


def presented(header: str | None, max_characters: int) -> str | None:
    """What a client presents, of its Authorization header: `Basic` or `Bearer` and its value; None if that is nothing.

    podman and skopeo send an empty user and password where they have none.
    """
    scheme, _, value = (header or "").strip().partition(" ")
    value = value.strip()
    if not _TOKEN.fullmatch(value) or len(value) > max_characters:
        return None
    if scheme.lower() == "bearer":
        return f"Bearer {value}"
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return f"Basic {value}" if user or password else None


def password_in(authorization: str | None) -> str:
    """The password of what a client presents; empty if there is none."""
    if authorization is None or not authorization.startswith("Basic "):
        return ""
    return base64.b64decode(authorization.removeprefix("Basic ")).partition(b":")[2].decode(errors="replace")


def is_of_cluster(password: str) -> bool:
    """Whether a password has the form of those that are made with a key of a cluster: these go to no registry."""
    return _OF_CLUSTER.fullmatch(password) is not None


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the registry said of credentials, and when, monotonic seconds."""

    shown: Shown
    at: float


class Checks:
    """Checks credentials of clients. All who present the same at the same moment share one question.

    Args:
        source: asks registries.
        settings: for how long a refusal counts, and bounds.
        now: monotonic seconds.
    """

    def __init__(
        self, source: GuestSource, settings: AccessSettings | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._settings = settings = settings or AccessSettings()
        self._now = now
        self._key = secrets.token_bytes(32)
        self._verdicts: OrderedDict[bytes, _Verdict] = OrderedDict()
        self._asking: dict[tuple[bytes, str], asyncio.Task[Shown]] = {}
        self._places = asyncio.Semaphore(settings.checks_max)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def known(self, repository: Repository, authorization: str, accepted_s: float) -> Shown | None:
        """What the registry has said of some credentials, if that still counts."""
        verdict = self._verdicts.get(self._hash(repository, authorization))
        if verdict is None:
            return None
        counts_s = accepted_s if verdict.shown is Shown.YES else self._settings.refused_s
        return verdict.shown if self._now() - verdict.at < counts_s else None

    async def check(self, repository: Repository, path: str, authorization: str, accepted_s: float) -> Shown:
        """What the registry shows to who has some credentials.

        Args:
            repository: what the client wants something of.
            path: what that is, below the repository's own path.
            authorization: what the client presents.
            accepted_s: for how long credentials are good that the registry has accepted, s.

        Raises:
            UpstreamError: the registry does not say.
        """
        shown = self.known(repository, authorization, accepted_s)
        if shown is not None:
            return shown
        key = self._hash(repository, authorization), path
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(repository, path, authorization))
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: tuple[bytes, str], task: "asyncio.Task[Shown]") -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # if all who asked have gone meanwhile, nobody else looks at it

    async def _ask(self, repository: Repository, path: str, authorization: str) -> Shown:
        async with self._places:
            shown = await self._source.shows(repository, path, authorization)
        if shown is not Shown.ABSENT:  # of one name; the next one may be there
            name = self._hash(repository, authorization)
            self._verdicts[name] = _Verdict(shown, self._now())
            self._verdicts.move_to_end(name)
            while len(self._verdicts) > self._settings.verdicts_max:
                self._verdicts.popitem(last=False)
        return shown

    def _hash(self, repository: Repository, authorization: str) -> bytes:
        return hmac.digest(self._key, f"{repository}\n{authorization}".encode(), "sha256")
