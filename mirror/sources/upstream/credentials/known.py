"""The credential for a repository, found where the operator keeps it: files change, and so do programs' answers."""

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ....errors import ConfigError, UpstreamError
from ....fileio import in_thread
from ....settings import CredentialSettings
from ..registries import Registry
from .auth_file import AuthFile, AuthPath, asked_at
from .programs import ask_program
from .values import Credential, Password

log = logging.getLogger(__name__)

AskProgram = Callable[[str, str, float], Awaitable[Credential | None]]
"""Asks the program of a name for a host's credential, within so many seconds."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a program said, or why it said nothing; good until `until`, in seconds of the event loop's clock."""

    said: Credential | UpstreamError | None
    until: float


class Credentials:
    """Finds credentials. Use it inside of one event loop.

    A file that has changed is read again before it is used the next time. What is wrong with it then is told to the
    operator once, and what it said before goes on to count. A host that is new in it is asked from the next start on.

    Args:
        path: the operator's file, if there is one.
        settings: bounds.
        program: asks a credential program.
    """

    def __init__(
        self,
        path: AuthPath | None = None,
        settings: CredentialSettings | None = None,
        program: AskProgram = ask_program,
    ) -> None:
        self._path = path
        self._settings = settings or CredentialSettings()
        self._program = program
        self._file = AuthFile()
        self._stamp: tuple[int, ...] = ()
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()
        """By program and host."""
        self._asking: dict[tuple[str, str], asyncio.Task[_Told]] = {}

    async def close(self) -> None:
        """Stop the programs that still run."""
        tasks = [*self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def of(self, registry: Registry, repository: str) -> Credential | None:
        """What a repository of a registry is asked with; None: nothing.

        Args:
            registry: at the operator's URL. A password in that URL is the one that counts.
            repository: its path, e.g. `library/nginx`.

        Raises:
            UpstreamError: the program that knows it does not say.
        """
        if registry.username is not None and registry.password is not None:
            return Password(registry.username, registry.password)
        if self._path is None:
            return None
        await self._look(self._path)
        host = asked_at(registry)
        found = self._file.find(host, f"{_prefix(registry)}{repository}")
        return await self._of_program(found, host) if isinstance(found, str) else found

    def reject(self, registry: Registry) -> None:
        """A registry does not accept what it was asked with: its program is asked again before the next time."""
        host = asked_at(registry)
        for key in [key for key in self._told if key[1] == host]:
            del self._told[key]

    async def _look(self, path: AuthPath) -> None:
        """Read the file if it has changed."""
        async with self._looking:  # who comes meanwhile waits for what the file says
            now = asyncio.get_running_loop().time()
            if now < self._looked_at + self._settings.look_s:
                return
            self._stamp, said = await in_thread(_read_changed, path, self._stamp)
            self._looked_at = now
        if isinstance(said, ConfigError):
            log.warning("%s; what it said before counts", said)
        elif said is not None:
            self._file = said
            self._told.clear()

    async def _of_program(self, name: str, host: str) -> Credential | None:
        key, now = (name, host), asyncio.get_running_loop().time()
        told = self._told.get(key)
        if told is None or told.until <= now:
            task = self._asking.get(key)
            if task is None:
                task = self._asking[key] = asyncio.create_task(self._ask(name, host))
                task.add_done_callback(lambda _: self._asking.pop(key, None))
            told = await asyncio.shield(task)
        if isinstance(told.said, UpstreamError):
            raise UpstreamError(told.said.reason, str(told.said))
        return told.said

    async def _ask(self, name: str, host: str) -> _Told:
        said: Credential | UpstreamError | None
        kept_s = self._settings.kept_s
        try:
            said = await self._program(name, host, self._settings.program_s)
        except UpstreamError as error:
            said, kept_s = error, self._settings.failure_kept_s
            log.warning("%s", error)
        told = self._told[name, host] = _Told(said, asyncio.get_running_loop().time() + kept_s)
        while len(self._told) > self._settings.hosts_max:
            self._told.popitem(last=False)
        return told


def _read_changed(path: AuthPath, stamp: tuple[int, ...]) -> tuple[tuple[int, ...], AuthFile | ConfigError | None]:
    """The file's stamp, and what it says, or what is wrong with it; None if the stamp is still that one."""
    try:
        found = os.stat(path.path)
        now: tuple[int, ...] = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError as error:
        now = (error.errno or 0,)
    if now == stamp:
        return stamp, None
    try:
        return now, path.read()
    except ConfigError as error:
        return now, error


def _prefix(registry: Registry) -> str:
    """What stands before a repository's path at a registry: the rest of the operator's URL, without the API's part."""
    parts = [part for part in registry.url.split("/")[3:] if part and part != "v2"]
    return "".join(f"{part}/" for part in parts)
