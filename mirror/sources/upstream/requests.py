"""Requests to registries by name: which may be asked, with which authorization, and what their answers mean.

Nothing is retried but a request that needs a newer token, and one that went to the target of an earlier redirect.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from ...errors import Reason, UpstreamError, UpstreamRefused, UpstreamUnknown
from ...oci.reference import Repository
from ...settings import UpstreamSettings
from .authorizer import Authorizer, password_rejected
from .challenge import parse_challenges
from .ratelimit import RateLimits
from .redirects import RedirectCache
from .registries import Registry, known_registries
from .transport import Transport, same_origin

_FOR_GOOD = (404, 406, 410, 451)
"""Statuses of what is not there, not there in this form, gone, or forbidden by law: to ask again changes nothing."""


class RegistryClient:
    """Asks registries. Make it inside a running event loop, and close it there.

    Args:
        configured: the registries that the operator named.
        settings: bounds.
    """

    def __init__(self, configured: Iterable[Registry], settings: UpstreamSettings) -> None:
        configured = tuple(configured)
        urls = [URL(registry.url) for registry in configured]
        self.transport = Transport([(url.raw_host or "", url.port or 0) for url in urls], settings)
        self._registries = known_registries(configured)
        self._rate_limits = RateLimits(settings)
        self._authorizer = Authorizer(self.transport, self._rate_limits, settings)
        self._redirects = RedirectCache(settings)

    async def close(self) -> None:
        """Drop all connections."""
        await self.transport.close()

    async def answers(self, name: str) -> bool:
        """Whether a registry answers anything at all, whatever it is, to a request without authorization."""
        registry = self._registries.get(name)
        if registry is None:
            return True  # nobody waits for what is refused
        try:
            answer = await self.transport.send("GET", URL(f"{registry.api}/"), {})
        except UpstreamError as error:
            return isinstance(error, UpstreamRefused)
        answer.release()
        return True

    @asynccontextmanager
    async def ask(
        self, method: str, repository: Repository, path: str, headers: Mapping[str, str], expected: Collection[int]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask the registry of a repository, and give the answer. Leaving releases the answer.

        Args:
            method: GET or HEAD.
            repository: whose registry is asked.
            path: below the registry's API, e.g. `library/nginx/blobs/sha256:…`.
            headers: to send, without Authorization.
            expected: statuses that the caller understands.

        Raises:
            UpstreamError: the registry cannot be asked, or answers another status; by what that status means.
        """
        registry = self._registries.get(repository.registry)
        if registry is None:
            raise UpstreamRefused(
                f"{repository.registry} is neither configured nor a well-known public registry: "
                f"to allow it, add --upstream {repository.registry}=https://{repository.registry}"
            )
        self._rate_limits.check(registry.name, _now())
        answer = await self._send_to_redirect(method, registry, path, headers, expected)
        if answer is None:
            answer = await self._send(method, registry, repository, path, headers)
            if method == "GET" and not same_origin(answer.url, URL(registry.api)):
                self._redirects.put((registry.name, path), answer.url, _now())
        try:
            if answer.status not in expected:
                raise self._failure(registry, answer, f"{method} of {repository.registry}/{path}")
            yield answer
        finally:
            answer.release()

    async def _send_to_redirect(
        self, method: str, registry: Registry, path: str, headers: Mapping[str, str], expected: Collection[int]
    ) -> aiohttp.ClientResponse | None:
        """Ask where the registry redirected the same path a moment ago; None if it did not, or if that fails now."""
        key = registry.name, path
        target = self._redirects.get(key, _now())
        if target is None or method != "GET":
            return None
        try:
            answer = await self.transport.send(method, target, headers, sent_by=registry.name)
        except UpstreamError:
            self._redirects.forget(key)
            return None
        if answer.status in expected:
            return answer
        answer.release()
        self._redirects.forget(key)
        return None

    async def _send(
        self, method: str, registry: Registry, repository: Repository, path: str, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Send with the authorization that is known, if any, and once more with a new one if the registry wants it."""
        scope = f"repository:{repository.path}:pull"
        url = URL(f"{registry.api}/{path}")
        known = self._authorizer.known(registry, scope)
        answer = await self.transport.send(method, url, _authorized(headers, known))
        if answer.status != 401 or not same_origin(answer.url, url):
            return answer
        answer.release()
        if known is not None:
            self._authorizer.reject(registry, scope, known)
        challenges = parse_challenges(answer.headers.getall("WWW-Authenticate", []))
        new = await self._authorizer.authorize(registry, scope, challenges)
        answer = await self.transport.send(method, url, _authorized(headers, new))
        if answer.status == 401 and new.startswith("Basic "):
            answer.release()
            self._authorizer.reject(registry, scope, new)
            raise password_rejected(registry)
        return answer

    def _failure(self, registry: Registry, answer: aiohttp.ClientResponse, request: str) -> UpstreamError:
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


def _authorized(headers: Mapping[str, str], authorization: str | None) -> dict[str, str]:
    return {**headers, **({"Authorization": authorization} if authorization else {})}


def _now() -> float:
    """Monotonic seconds."""
    return asyncio.get_running_loop().time()
