"""Asks registries as somebody else: as anybody, or as a client with the client's own credentials.

So it is found out whether a repository is public, and whether a client may pull from it. None of this node's own
credentials, tokens or client certificates is used, and nothing of what a client shows is kept here: a password goes to
the registry and to its token service, by the same rules as the operator's own (`challenge`, `addresses`), a token to
the registry alone.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from yarl import URL

from ...errors import Reason, UpstreamError, UpstreamRateLimited
from ...oci.manifest import MEDIA_TYPES
from ...oci.reference import Repository
from ...settings import UpstreamSettings
from .. import Shown
from .challenge import Basic, Bearer, Challenge, Party, parse_challenges, parse_token, realm_of, token_url
from .encodings import decoded
from .ratelimit import RateLimits, parse_retry_after
from .registries import Registry
from .transport import Answer, Transport, same_origin

_PARTIES_MAX: Final = 3
"""Bounds who may want an authorization for one question: the registry, and hosts to which it redirects."""
_CONTENT: Final = re.compile(r"/v2/(.+)/(?:manifests|blobs)/[^/]+")
_SHOWN: Final = (200, 206, 416)
_ABSENT: Final = (404, 406, 410, 451)
_REJECTED: Final = (400, 401, 403)
_NO_HEAD: Final = (400, 405, 501)
"""Statuses by which a registry says that it knows no HEAD."""


class Guests:
    """Asks on behalf of others.

    Args:
        transport: gives connections on which this node shows no certificate.
        rate_limits: says whether a registry may be asked; what it says to guests is not what it lets this node ask.
        settings: bounds.
        now: monotonic seconds.
    """

    def __init__(
        self,
        transport: Callable[[Registry], Transport],
        rate_limits: RateLimits,
        settings: UpstreamSettings,
        now: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._rate_limits = rate_limits
        self._settings = settings
        self._now = now
        self._rests_until: dict[str, float] = {}
        """When a registry that answered 429 to a guest may be asked again, by URL. It says nothing of this node."""

    async def shows(
        self, registry: Registry, repository: Repository, path: str, authorization: str | None, within_s: float
    ) -> Shown:
        """Ask one registry, within so many seconds; see `GuestSource.shows`."""
        try:
            async with asyncio.timeout(within_s):
                return await self._shows(registry, repository, path, authorization)
        except TimeoutError:
            raise UpstreamError(Reason.TIMEOUT, f"{registry.name} gave no answer within {within_s:.1f} s") from None

    async def _shows(self, registry: Registry, repository: Repository, path: str, authorization: str | None) -> Shown:
        """Ask for a manifest by HEAD, for a blob by its first byte: an object store need not take HEAD."""
        kind = path.partition("/")[0]
        headers = {"Accept": ", ".join((*MEDIA_TYPES, "*/*"))} if kind == "manifests" else {}
        if kind == "blobs":
            headers["Range"] = "bytes=0-0"
        question = _Question(registry, repository, URL(f"{registry.api}/{repository.path}/{path}"), headers)
        now = self._now()
        self._rate_limits.check(registry, now, is_pull=False)
        if (wait_s := self._rests_until.get(registry.url, now) - now) > 0:
            raise UpstreamRateLimited(f"{registry.name} answered 429 to others: not asked for {wait_s:.0f} s", wait_s)
        status = await self._status("HEAD" if kind == "manifests" else "GET", question, authorization)
        if kind == "manifests" and status in _NO_HEAD:
            status = await self._status("GET", question, authorization)
        if status in _SHOWN:
            return Shown.YES
        if status in (401, 403):
            return Shown.REFUSED
        if status in _ABSENT:
            return Shown.ABSENT
        raise UpstreamError(Reason.STATUS, f"{registry.name} answered {status} when it was asked who may see something")

    async def _status(self, method: str, question: "_Question", authorization: str | None) -> int:
        """The status of the answer, once everybody who wants an authorization has what there is."""
        registry, granted = question.registry, dict[str, str]()
        home = str(question.url.origin())
        if authorization is not None and authorization.startswith("Bearer "):
            granted[home] = authorization
        for _ in range(_PARTIES_MAX + 1):
            given = {"Authorization": granted[home]} if home in granted else {}
            answer = await self._transport(registry).send(
                method,
                question.url,
                {**question.headers, **given},
                granted=lambda target: granted.get(str(target.origin())),
            )
            answer.release()
            party = str(answer.url.origin())
            if answer.status == 429:
                raise self._limited(registry, answer)
            if answer.status != 401 or party in granted:
                return answer.status
            value = await self._answer(question, answer, authorization if party == home else None)
            if value is None:
                return answer.status
            granted[party] = value
        return 401

    def _limited(self, registry: Registry, answer: Answer) -> UpstreamRateLimited:
        """Take note of an answer of status 429; returns the error to raise."""
        wait_s = parse_retry_after(answer.headers.get("Retry-After"), datetime.now(UTC), self._settings)
        self._rests_until[registry.url] = self._now() + wait_s
        return UpstreamRateLimited(f"{registry.name} answered 429 to others: not asked for {wait_s:.0f} s", wait_s)

    async def _answer(self, question: "_Question", answer: Answer, authorization: str | None) -> str | None:
        """What satisfies who answered 401; None if nothing does that there is."""
        party = question.party(answer.url)
        try:
            challenges: Sequence[Challenge] = parse_challenges(answer.headers.getall("WWW-Authenticate", []))
        except UpstreamError:
            return None
        basic = authorization if authorization is not None and authorization.startswith("Basic ") else None
        for challenge in challenges:
            if isinstance(challenge, Bearer):
                return await self._token(party, challenge, basic)
        return basic if any(isinstance(challenge, Basic) for challenge in challenges) else None

    async def _token(self, party: Party, challenge: Bearer, basic: str | None) -> str | None:
        """A token for somebody; None if the token service gives none."""
        registry, realm = party.registry, realm_of(challenge, party)
        headers: Mapping[str, str] = {"Authorization": basic} if basic else {}
        url, bytes_max = token_url(realm, challenge, party.scope), self._settings.token_bytes_max
        answer = await self._transport(registry).send("GET", url, headers, sent_by=registry.name)
        try:
            if answer.status == 429:
                raise self._limited(registry, answer)
            if answer.status in _REJECTED:
                return None
            if answer.status != 200:
                raise UpstreamError(
                    Reason.STATUS, f"{realm.origin()} answered {answer.status} to a request for a token"
                )
            body = decoded(answer, await answer.read_whole(bytes_max), bytes_max)
            return f"Bearer {parse_token(body, self._settings).value}"
        finally:
            answer.release()


class _Question:
    """What is asked of a registry.

    Args:
        registry: which, and where.
        repository: of what is asked for.
        url: of it.
        headers: to send, without Authorization.
    """

    def __init__(self, registry: Registry, repository: Repository, url: URL, headers: Mapping[str, str]) -> None:
        self.registry = registry
        self.url = url
        self.headers = headers
        self._repository = repository

    def party(self, url: URL) -> Party:
        """Who answered at a URL."""
        if same_origin(url, self.url):
            path = self._repository.path
            return Party(self.registry, self.registry.url, f"repository:{path}:pull", path)
        content = _CONTENT.fullmatch(url.path)
        return Party(self.registry, str(url.origin()), f"repository:{content[1]}:pull" if content else "")
