"""Requests to registries by name: which may be asked, at which URL, with which authorization, and what answers mean.

Nothing is retried but a request that needs a newer token, and one that went to the target of an earlier redirect. One
try, all of that included, has one bound.
"""

import asyncio
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from yarl import URL

from ...errors import Reason, UpstreamError, UpstreamRateLimited, UpstreamRefused, UpstreamUnknown
from ...oci.reference import Repository
from ...settings import UpstreamSettings
from .. import Looked, RegistryAnswer, Shown
from .access import Access
from .authorizer import Authorizer
from .budgets import Budgets
from .challenge import Bearer, Party, parse_challenges
from .credentials import Credentials
from .guests import Guests
from .last_answers import LastAnswers
from .looking import Looking
from .names import LookUp
from .ratelimit import RateLimits
from .redirects import RedirectCache
from .registries import Registry, known_registries
from .transport import Answer, same_origin
from .transports import Purpose, Transports
from .turns import Turns

log = logging.getLogger(__name__)

_CONTENT = re.compile(r"/v2/(.+)/(?:manifests|blobs)/[^/]+")
_PARTIES_MAX = 3
"""Bounds who may want a token for one request: the registry, and hosts to which it redirects."""

_REMAINING_MAX = 40
"""Bounds what is remembered of a header for people, in characters."""
_FAILURE_MAX = 400
"""Bounds what is remembered of a failure for people, in characters."""
_GIVEN_UP = "no answer in the time for which it was waited for"

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


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a registry.

    Args:
        method: GET or HEAD.
        repository: of what is asked for.
        path: below the registry's API, e.g. `library/nginx/blobs/sha256:…`.
        headers: to send, without Authorization.
        expected: statuses that the caller understands.
    """

    method: str
    repository: Repository
    path: str
    headers: Mapping[str, str]
    expected: Collection[int]

    def __str__(self) -> str:
        return f"{self.method} of {self.repository.registry}/{self.path}"

    @property
    def is_pull(self) -> bool:
        """Whether registries that count pulls count it."""
        return self.method == "GET" and self.is_of_manifest

    @property
    def is_of_manifest(self) -> bool:
        """Whether it is about a manifest."""
        return self.path.rpartition("/")[0].endswith("/manifests")

    @property
    def may_be_redirected(self) -> bool:
        """Whether a redirect holds for the next time: the path names content by its digest, which has a colon."""
        return self.method == "GET" and ":" in self.path.rpartition("/")[2]


class RegistryClient:
    """Asks registries. Make it inside a running event loop, and close it there.

    Args:
        configured: the registries that the operator named.
        settings: bounds.
        access: how registries are reached, and who this node is to them.
        look_up: has the addresses of a host.
        passed_on: the marks that a request has to have.
        tally: counts; None: nobody does.
        budgets: what registries say of their limits, to all members.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that a question to a registry depends on
        self,
        configured: Iterable[Registry],
        settings: UpstreamSettings,
        access: Access,
        look_up: LookUp = socket.getaddrinfo,
        passed_on: Callable[[], Sequence[str]] = tuple,
        tally: Tally | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        self._tally = tally
        configured = tuple(configured)
        self._registries = known_registries(configured)
        known = [registry for urls in self._registries.values() for registry in urls]
        self._transports = Transports(configured, known, settings, access.proxies, look_up, passed_on)
        self._turns = Turns(settings.turn_rest_s)
        self._rate_limits = RateLimits(settings, budgets)
        self._credentials = Credentials(access.auth, settings.credentials)
        self._authorizer = Authorizer(self._transports.of, self._credentials, self._rate_limits, settings)
        self._redirects = RedirectCache(settings)
        of_guests = partial(self._transports.of, purpose=Purpose.GUESTS)
        self._guests = Guests(of_guests, self._rate_limits, settings, _now)
        self.last_answers = LastAnswers(settings.last_answers_max)
        """For people."""
        self._looking = Looking(partial(self._transports.of, purpose=Purpose.SIGNS), self._authorizer)

    async def close(self) -> None:
        """Drop all connections."""
        await self._credentials.close()
        await self._transports.close()

    async def answers(self, name: str) -> bool:
        """Whether a registry answers anything at all, whatever it is, to a request without authorization."""
        asking = [asyncio.create_task(self._answers(registry)) for registry in self._registries.get(name, ())]
        try:
            for answers in asyncio.as_completed(asking):
                if await answers:
                    return True
            return not asking  # nobody waits for what is refused
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def look(self, name: str, within_s: float) -> Sequence[Looked]:
        """What each URL of a registry answers, in the operator's order, within so many seconds."""
        return await self._looking.at(self._registries.get(name, ()), within_s)

    async def _answers(self, registry: Registry) -> bool:
        try:
            answer = await self._transports.of(registry, Purpose.SIGNS).send("GET", URL(f"{registry.api}/"), {})
        except UpstreamError as error:
            return isinstance(error, UpstreamRefused)
        answer.release()
        return True

    async def shows(self, repository: Repository, path: str, authorization: str | None, within_s: float) -> Shown:
        """Ask the registry of a repository as somebody else, within so many seconds; see `GuestSource.shows`.

        Of several URLs the last one is asked, which knows all: a cache before it gives to everybody what it has.
        """
        with self._counting_failures(repository.registry):
            return await self._guests.shows(self._known(repository)[-1], repository, path, authorization, within_s)

    def used_credential(self, repository: Repository) -> bool:
        """Whether this node was let in to a repository as the operator, and not as anybody is."""
        return any(
            registry.reached.cert is not None or self._authorizer.used_credential(_itself(registry, repository))
            for registry in self._registries.get(repository.registry, ())
        )

    def _known(self, repository: Repository) -> Sequence[Registry]:
        urls = self._registries.get(repository.registry)
        if urls is None:
            raise UpstreamRefused(
                f"{repository.registry} is neither configured nor a well-known public registry: "
                f"to allow it, add --upstream {repository.registry}=https://{repository.registry}"
            )
        return urls

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
            urls = self._known(repository)
            question = Question(method, repository, path, headers, expected)
            answer = await self._first_of(urls, question, within_s)
            try:
                yield answer
            finally:
                answer.release()

    async def _first_of(self, urls: Sequence[Registry], question: Question, within_s: float) -> Answer:
        """The first answer that is of use; else the failure of the URL that is listed last, which knows all.

        A URL after which there is another one has half of the time that is left.
        """
        until, failures = _now() + within_s, dict[Registry, UpstreamError]()
        for registry in (turns := self._turns.of(urls, _now())):
            left_s = until - _now()
            is_last = registry is turns[-1]
            try:
                return await self._answer_within(registry, question, left_s if is_last else left_s / 2, urls[-1])
            except UpstreamError as error:
                failures[registry] = error
                if registry is urls[-1] and isinstance(error, UpstreamUnknown):
                    break
                if not isinstance(error, UpstreamUnknown | UpstreamRateLimited):
                    self._turns.failed(registry, _now())
                if not is_last:
                    log.debug("%s: the next URL is asked registry=%s", error, registry.name)
        raise failures[urls[-1]]

    async def _answer_within(
        self, registry: Registry, question: Question, within_s: float, authority: Registry
    ) -> Answer:
        """The answer at one URL, of a status that is expected; that it has no such thing only the authority may say."""
        try:
            async with asyncio.timeout(within_s):
                repository = question.repository.path
                if question.is_pull and self._rate_limits.is_to_be_found_out(registry, repository, _now()):
                    await self._learn_of_budget(registry, question)
                is_pull = question.is_pull and self._rate_limits.counts(registry, repository, _now())
                async with self._rate_limits.asked(registry, is_pull=is_pull):
                    answer = await self._noted_answer(registry, question)
        except TimeoutError:
            raise UpstreamError(Reason.TIMEOUT, f"{registry.name} gave no answer within {within_s:.1f} s") from None
        if self._tally is not None:
            self._tally.upstream_answered(registry.name, answer.status)
        if answer.status in question.expected and (registry is authority or answer.status != 404):
            return answer
        answer.release()
        if answer.status == 429:
            clock, is_pull = datetime.now(UTC), question.is_pull
            raise self._rate_limits.note_429(registry, answer.headers, clock, _now(), is_pull=is_pull)
        raise _failure(registry, answer, question)

    async def _noted_answer(self, registry: Registry, question: Question) -> Answer:
        """The answer; what it says of the budget is taken note of."""
        answer = await self._answer(registry, question)
        if same_origin(answer.url, URL(registry.api)):
            is_manifest = question.is_of_manifest and answer.status == 200
            repository = question.repository.path if is_manifest else None
            self._rate_limits.note(registry, answer.headers, _now(), repository)
        return answer

    async def _learn_of_budget(self, registry: Registry, question: Question) -> None:
        """Ask for the head of what would be a pull: that costs none, and the answer tells whose budget a pull costs."""
        with suppress(UpstreamError):
            (await self._noted_answer(registry, replace(question, method="HEAD"))).release()

    @contextmanager
    def _counting_failures(self, registry: str) -> Iterator[None]:
        """Count with what a question ends, or the reading of the answer's body."""
        try:
            yield
        except UpstreamError as error:
            if self._tally is not None:
                self._tally.upstream_failed(registry, error.reason)
            raise

    async def _answer(self, registry: Registry, question: Question) -> Answer:
        """The answer of the registry, or of the place where it redirected the same question a moment ago."""
        asked_at, answer, failure = _now(), None, _GIVEN_UP
        try:
            answer = await self._send_to_redirect(registry, question)
            if answer is None:
                answer = await self._send(registry, question)
                is_elsewhere = not same_origin(answer.url, URL(registry.api))
                if is_elsewhere and answer.status in question.expected and question.may_be_redirected:
                    self._redirects.put((registry.url, question.path), answer.url, _now())
            return answer
        except UpstreamError as error:
            failure = str(error)
            raise
        finally:
            self.last_answers.keep(_told(question, registry, _now() - asked_at, answer or failure))

    async def _send_to_redirect(self, registry: Registry, question: Question) -> Answer | None:
        """Ask where the registry redirected the same path a moment ago; None if it did not, or if that fails now."""
        key = registry.url, question.path
        target = self._redirects.get(key, _now())
        if target is None or question.method != "GET":
            return None
        given = _authorized(question.headers, self._granted(registry, target))
        try:
            answer = await self._transports.of(registry).send(question.method, target, given, sent_by=registry.name)
        except UpstreamError:
            self._redirects.forget(key)
            return None
        except asyncio.CancelledError:  # it does not answer in time: the next try asks the registry
            self._redirects.forget(key)
            raise
        if answer.status in question.expected:
            return answer
        answer.release()
        self._redirects.forget(key)
        return None

    async def _send(self, registry: Registry, question: Question) -> Answer:
        """Send, with the authorizations that are known; and again with a new one for each party that wants one.

        A registry may redirect to another one, which wants a token of its own. Who refuses a token that was good
        before is asked once more with a new one, and nobody is asked a third time.
        """
        itself = _itself(registry, question.repository)
        url = URL(f"{registry.api}/{question.path}")
        asked: set[str] = set()
        while True:
            given = _authorized(question.headers, self._authorizer.known(itself))
            answer = await self._transports.of(registry).send(
                question.method, url, given, granted=lambda target: self._granted(registry, target)
            )
            if answer.status != 401:
                return answer
            answer.release()
            party = itself if same_origin(answer.url, url) else _elsewhere(registry, answer.url)
            if answer.authorization is not None:
                self._authorizer.reject(party, answer.authorization)
                if "WWW-Authenticate" not in answer.headers:
                    continue  # who is asked without an authorization says which one is wanted
            if party.url in asked or len(asked) == _PARTIES_MAX:
                break
            asked.add(party.url)
            if not await self._satisfy(party, answer):
                break
        if party is itself and (answer.authorization or "").startswith("Basic "):
            raise await self._authorizer.rejected(itself)
        return answer

    async def _satisfy(self, party: Party, answer: Answer) -> bool:
        """Get the authorization that somebody wants who answered 401; return whether to ask again.

        Who is not the operator's registry gets a token for strangers, if it wants one, and never a password.
        """
        is_elsewhere = party.repository is None
        try:
            challenges = parse_challenges(answer.headers.getall("WWW-Authenticate", []))
        except UpstreamError:
            if is_elsewhere:
                return False
            raise
        if is_elsewhere and not any(isinstance(challenge, Bearer) for challenge in challenges):
            return False
        await self._authorizer.authorize(party, challenges)
        return True

    def _granted(self, registry: Registry, target: URL) -> str | None:
        """What a host to which a registry redirects has granted to strangers, if anything."""
        return self._authorizer.known(_elsewhere(registry, target))


def _failure(registry: Registry, answer: Answer, question: Question) -> UpstreamError:
    """The error that an answer of an unexpected status means."""
    message = f"{answer.url.origin()} answered {answer.status} to {question}"
    if answer.status in _FOR_GOOD:
        return UpstreamUnknown(message)
    if answer.status in (401, 403) and same_origin(answer.url, URL(registry.api)):
        # Docker Hub and others answer so for what does not exist. An object store answers so to a bad signed URL,
        # which says nothing about the content.
        return UpstreamUnknown(f"{message}: there is no such thing, or only others may see it")
    return UpstreamError(Reason.STATUS, message)


def _itself(registry: Registry, repository: Repository) -> Party:
    """A registry that is asked for something of a repository."""
    return Party(registry, registry.url, f"repository:{repository.path}:pull", repository.path)


def _told(question: Question, registry: Registry, seconds: float, answer: Answer | str) -> RegistryAnswer:
    """An answer, or why there is none, as people are shown it."""
    what = question.path.partition("?")[0].rpartition("/")[2]
    api = URL(registry.api)
    asked = question.method, str(question.repository), what, str(api.origin()), time.time(), seconds
    if isinstance(answer, str):
        return RegistryAnswer(*asked, failure=_shown(answer, _FAILURE_MAX))
    redirected = None if same_origin(answer.url, api) else answer.url.host
    remaining = _shown(answer.headers.get("RateLimit-Remaining", ""), _REMAINING_MAX) or None
    return RegistryAnswer(*asked, answer.status, redirected, remaining)


def _shown(text: str, characters_max: int) -> str:
    """What a registry says, as it can be written: bytes of a header that are no UTF-8 become question marks."""
    return text[:characters_max].encode(errors="replace").decode()


def _elsewhere(registry: Registry, url: URL) -> Party:
    """The party at a URL to which a registry redirected.

    It may see no credential, whatever the operator gave to a registry of that URL: the one that redirects is not
    trusted with that.
    """
    content = _CONTENT.fullmatch(url.path)
    return Party(registry, str(url.origin()), f"repository:{content[1]}:pull" if content else "")


def _authorized(headers: Mapping[str, str], authorization: str | None) -> dict[str, str]:
    return {**headers, **({"Authorization": authorization} if authorization else {})}


def _now() -> float:
    """Monotonic seconds."""
    return asyncio.get_running_loop().time()
