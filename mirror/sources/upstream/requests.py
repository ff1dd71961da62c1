"""Requests to registries by name: which may be asked, with which authorization, and what their answers mean.

Nothing is retried but a request that needs a newer token, and one that went to the target of an earlier redirect. One
try, all of that included, has one bound.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from yarl import URL

from ...errors import Reason, UpstreamError, UpstreamRefused, UpstreamUnknown
from ...oci.reference import Repository
from ...settings import UpstreamSettings
from .addresses import AddressGuard
from .authorizer import Authorizer
from .challenge import Bearer, parse_challenges
from .credentials import AuthPath, Credentials
from .names import LookUp, Names
from .ratelimit import RateLimits
from .redirects import RedirectCache
from .registries import Registry, known_registries
from .transport import Answer, Transport, same_origin

_CONTENT = re.compile(r"/v2/(.+)/(?:manifests|blobs)/[^/]+")
_PARTIES_MAX = 3
"""Bounds who may want a token for one request: the registry, and hosts to which it redirects."""

_FOR_GOOD = (404, 406, 410, 451)
"""Statuses of what is not there, not there in this form, gone, or forbidden by law: to ask again changes nothing."""


class Tally(Protocol):
    """Counts how registries answer."""

    def upstream_answered(self, registry: str, status: int) -> None:
        """A registry answered."""
        ...

    def upstream_sent(self, registry: str, count: int) -> None:
        """A registry sent so many bytes of content."""
        ...

    def upstream_failed(self, registry: str, reason: Reason) -> None:
        """A request to a registry did not bring what was wanted; where it answered at all, that is counted as well."""
        ...


class RegistryClient:
    """Asks registries. Make it inside a running event loop, and close it there.

    Args:
        configured: the registries that the operator named.
        settings: bounds.
        auth: the operator's file of credentials, if there is one.
        look_up: has the addresses of a host.
        passed_on: the marks that a request has to have.
        tally: counts; None: nobody does.
    """

    def __init__(
        self,
        configured: Iterable[Registry],
        settings: UpstreamSettings,
        auth: AuthPath | None = None,
        look_up: LookUp = socket.getaddrinfo,
        passed_on: Callable[[], Sequence[str]] = tuple,
        tally: Tally | None = None,
    ) -> None:
        self._passed_on = passed_on
        self._tally = tally
        configured = tuple(configured)
        self._settings = settings
        self._registries = known_registries(configured)
        self._configured = {registry.name for registry in configured}
        self._named = [_place(registry) for registry in configured]
        hosts = [host for host, _ in map(_place, self._registries.values())]
        self._names = Names(hosts, settings.names, look_up)
        self._transports: dict[tuple[str, bool], Transport] = {}
        """By the registry's name, since it was first asked; and whether it is for signs of life, which must not wait
        until one of the requests that they are about gives its connection back."""
        self._rate_limits = RateLimits(settings)
        self._credentials = Credentials(auth, settings.credentials)
        self._authorizer = Authorizer(self._transport, self._credentials, self._rate_limits, settings)
        self._redirects = RedirectCache(settings)

    async def close(self) -> None:
        """Drop all connections."""
        await self._credentials.close()
        for transport in self._transports.values():
            await transport.close()

    def _transport(self, registry: Registry, *, for_signs: bool = False) -> Transport:
        """The connections of a registry. Only one that the operator named can be an agent, and is given marks."""
        key = registry.name, for_signs
        transport = self._transports.get(key)
        if transport is None:
            host, _ = _place(registry)
            guard = AddressGuard(self._names.addresses, host, self._named, registry.trusted)
            settings = replace(self._settings, connections_max=1) if for_signs else self._settings
            passed_on = self._passed_on if registry.name in self._configured else tuple
            transport = self._transports[key] = Transport(guard, settings, passed_on)
        return transport

    async def answers(self, name: str) -> bool:
        """Whether a registry answers anything at all, whatever it is, to a request without authorization."""
        registry = self._registries.get(name)
        if registry is None:
            return True  # nobody waits for what is refused
        try:
            answer = await self._transport(registry, for_signs=True).send("GET", URL(f"{registry.api}/"), {})
        except UpstreamError as error:
            return isinstance(error, UpstreamRefused)
        answer.release()
        return True

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        repository: Repository,
        path: str,
        headers: Mapping[str, str],
        expected: Collection[int],
        *,
        within_s: float,
    ) -> AsyncIterator[Answer]:
        """Ask the registry of a repository, and give the answer. Leaving releases the answer.

        Args:
            method: GET or HEAD.
            repository: whose registry is asked.
            path: below the registry's API, e.g. `library/nginx/blobs/sha256:…`.
            headers: to send, without Authorization.
            expected: statuses that the caller understands.
            within_s: bounds the time until the head of the answer is here, s, with all redirects and tokens.

        Raises:
            UpstreamError: the registry cannot be asked, or answers another status; by what that status means.
        """
        with self._counting_failures(repository.registry):
            registry = self._registries.get(repository.registry)
            if registry is None:
                raise UpstreamRefused(
                    f"{repository.registry} is neither configured nor a well-known public registry: "
                    f"to allow it, add --upstream {repository.registry}=https://{repository.registry}"
                )
            self._rate_limits.check(registry.name, _now())
            try:
                async with asyncio.timeout(within_s):
                    answer = await self._answer(method, registry, repository, path, headers, expected)
            except TimeoutError:
                raise UpstreamError(Reason.TIMEOUT, f"{registry.name} gave no answer within {within_s:g} s") from None
            if self._tally is not None:
                self._tally.upstream_answered(registry.name, answer.status)
            try:
                if answer.status not in expected:
                    raise self._failure(registry, answer, f"{method} of {repository.registry}/{path}")
                yield answer
            finally:
                answer.release()

    @contextmanager
    def _counting_failures(self, registry: str) -> Iterator[None]:
        """Count with what a question ends, or the reading of the answer's body."""
        try:
            yield
        except UpstreamError as error:
            if self._tally is not None:
                self._tally.upstream_failed(registry, error.reason)
            raise

    async def _answer(
        self,
        method: str,
        registry: Registry,
        repository: Repository,
        path: str,
        headers: Mapping[str, str],
        expected: Collection[int],
    ) -> Answer:
        """The answer of the registry, or of the place where it redirected the same question a moment ago."""
        answer = await self._send_to_redirect(method, registry, path, headers, expected)
        if answer is None:
            answer = await self._send(method, registry, repository, path, headers)
            is_elsewhere = not same_origin(answer.url, URL(registry.api))
            if method == "GET" and answer.status in expected and is_elsewhere and _never_changes(path):
                self._redirects.put((registry.name, path), answer.url, _now())
        return answer

    async def _send_to_redirect(
        self, method: str, registry: Registry, path: str, headers: Mapping[str, str], expected: Collection[int]
    ) -> Answer | None:
        """Ask where the registry redirected the same path a moment ago; None if it did not, or if that fails now."""
        key = registry.name, path
        target = self._redirects.get(key, _now())
        if target is None or method != "GET":
            return None
        given = _authorized(headers, self._granted(registry, target))
        try:
            answer = await self._transport(registry).send(method, target, given, sent_by=registry.name)
        except UpstreamError:
            self._redirects.forget(key)
            return None
        except asyncio.CancelledError:  # it does not answer in time: the next try asks the registry
            self._redirects.forget(key)
            raise
        if answer.status in expected:
            return answer
        answer.release()
        self._redirects.forget(key)
        return None

    async def _send(
        self, method: str, registry: Registry, repository: Repository, path: str, headers: Mapping[str, str]
    ) -> Answer:
        """Send, with the authorizations that are known; and again with a new one for each party that wants one.

        A registry may redirect to another one, which wants a token of its own. Who refuses a token that was good
        before is asked once more with a new one, and nobody is asked a third time.
        """
        scope = f"repository:{repository.path}:pull"
        url = URL(f"{registry.api}/{path}")
        asked: set[str] = set()
        while True:
            given = _authorized(headers, self._authorizer.known(registry, scope))
            answer = await self._transport(registry).send(
                method, url, given, granted=lambda target: self._granted(registry, target)
            )
            if answer.status != 401:
                return answer
            answer.release()
            party, wanted = registry, scope
            if not same_origin(answer.url, url):
                party, wanted = _elsewhere(registry, answer.url)
            if answer.authorization is not None:
                self._authorizer.reject(party, wanted, answer.authorization)
                if "WWW-Authenticate" not in answer.headers:
                    continue  # who is asked without an authorization says which one is wanted
            if party.url in asked or len(asked) == _PARTIES_MAX:
                break
            asked.add(party.url)
            known_as = repository.path if party is registry else None
            if not await self._satisfy(party, wanted, answer, known_as):
                break
        if party is registry and (answer.authorization or "").startswith("Basic "):
            raise await self._authorizer.rejected(registry, repository.path)
        return answer

    async def _satisfy(self, party: Registry, scope: str, answer: Answer, known_as: str | None) -> bool:
        """Get the authorization that somebody wants who answered 401; return whether to ask again.

        Who is not the operator's registry gets a token for strangers, if it wants one, and never a password.

        Args:
            party: who answered.
            scope: of what was asked for there.
            answer: what it answered.
            known_as: the path of the repository whose credential the party may see; None if it may see none.
        """
        is_elsewhere = known_as is None
        try:
            challenges = parse_challenges(answer.headers.getall("WWW-Authenticate", []))
        except UpstreamError:
            if is_elsewhere:
                return False
            raise
        if is_elsewhere and not any(isinstance(challenge, Bearer) for challenge in challenges):
            return False
        await self._authorizer.authorize(party, scope, challenges, known_as)
        return True

    def _granted(self, registry: Registry, target: URL) -> str | None:
        """What a host to which a registry redirects has granted to strangers, if anything."""
        return self._authorizer.known(*_elsewhere(registry, target))

    def _failure(self, registry: Registry, answer: Answer, request: str) -> UpstreamError:
        """The error that an answer of an unexpected status means."""
        message = f"{answer.url.origin()} answered {answer.status} to {request}"
        if answer.status == 429:
            retry_after = answer.headers.get("Retry-After")
            return self._rate_limits.note_429(registry.name, retry_after, datetime.now(UTC), _now())
        if answer.status in _FOR_GOOD:
            return UpstreamUnknown(message)
        if answer.status in (401, 403) and same_origin(answer.url, URL(registry.api)):
            # Docker Hub and others answer so for what does not exist. An object store answers so to a bad signed URL,
            # which says nothing about the content.
            return UpstreamUnknown(f"{message}: there is no such thing, or only others may see it")
        return UpstreamError(Reason.STATUS, message)


def _place(registry: Registry) -> tuple[str, int]:
    """Host and port of a registry's URL."""
    url = URL(registry.url)
    return url.raw_host or "", url.port or 0


def _elsewhere(registry: Registry, url: URL) -> tuple[Registry, str]:
    """The party at a URL to which a registry redirected, and the scope of what is asked for there.

    It has no password, whatever the operator gave to a registry of that URL: the one that redirects is not trusted
    with that.
    """
    content = _CONTENT.fullmatch(url.path)
    scope = f"repository:{content[1]}:pull" if content else ""
    return Registry(registry.name, str(url.origin()), trusted=registry.trusted), scope


def _authorized(headers: Mapping[str, str], authorization: str | None) -> dict[str, str]:
    return {**headers, **({"Authorization": authorization} if authorization else {})}


def _never_changes(path: str) -> bool:
    """Whether a path names content by its digest, which has a colon; what a tag means may change at any moment."""
    return ":" in path.rpartition("/")[2]


def _now() -> float:
    """Monotonic seconds."""
    return asyncio.get_running_loop().time()
