"""Answers the challenges of registries: with a token from their token service, or with a user and password.

A token service is asked by GET, with the user and password if there is one (distribution, "Token Authentication
Specification"). For an identity token it is asked by POST (distribution, "OAuth2 Token Authentication").
"""

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from ...errors import Reason, UpstreamError, UpstreamRateLimited, UpstreamUnknown
from ...settings import UpstreamSettings
from .challenge import (
    Basic,
    Bearer,
    Challenge,
    Party,
    basic_authorization,
    parse_token,
    realm_of,
    token_form,
    token_url,
)
from .credentials import Credential, Credentials, IdentityToken, Password
from .encodings import decoded
from .ratelimit import RateLimits
from .registries import Registry
from .tokens import Authorizations, Key
from .transport import Transport

log = logging.getLogger(__name__)

_REJECTED = (400, 401, 403)
"""Statuses by which a token service refuses a credential; 400 is that of OAuth 2 for a token that is good no longer
(RFC 6749, section 5.2)."""


class Authorizer:
    """Knows the Authorization header for each party, and gets new ones.

    Args:
        transport: gives the connections of a registry, by which its token service is asked.
        credentials: finds that of a registry.
        rate_limits: hears of a token service that answers 429.
        settings: lives and bounds of tokens.
    """

    def __init__(
        self,
        transport: Callable[[Registry], Transport],
        credentials: Credentials,
        rate_limits: RateLimits,
        settings: UpstreamSettings,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._rate_limits = rate_limits
        self._settings = settings
        self._authorizations = Authorizations(settings)
        self._by_credential: OrderedDict[Key, None] = OrderedDict()
        """What was last granted to who the operator's credential names, and not to anybody."""
        self._warned_at: dict[str, float] = {}
        """When the operator was last told that a registry does not accept its password, by the registry's name."""

    def known(self, party: Party) -> str | None:
        """The header's value, or None if none is known that is good now."""
        return self._authorizations.get(_key(party), _now())

    def used_credential(self, party: Party) -> bool:
        """Whether what a party was last asked with was granted for the operator's credential."""
        key = _key(party)
        if key not in self._by_credential:
            return False
        self._by_credential.move_to_end(key)
        return True

    def reject(self, party: Party, value: str) -> None:
        """Forget a value that the party did not accept."""
        self._authorizations.forget(_key(party), value)

    async def rejected(self, party: Party) -> UpstreamError:
        """The error of a registry that does not accept the operator's credential, who is told now and then."""
        return self._rejected(party.registry, await self._credential(party))

    def _rejected(self, registry: Registry, credential: Credential | None) -> UpstreamError:
        self._credentials.reject(registry)
        error = UpstreamError(Reason.AUTH, f"{registry.name} does not accept {credential or 'what it was asked with'}")
        now = _now()
        if now >= self._warned_at.get(registry.name, -math.inf) + self._settings.complaint_s:
            self._warned_at[registry.name] = now
            log.warning("%s: what it has under that name is not fetched registry=%s", error, registry.name)
        return error

    async def authorize(self, party: Party, challenges: Sequence[Challenge]) -> str:
        """Answer the challenges of a party. Requests that want the same value at the same time share one answer.

        Returns:
            The header's value.

        Raises:
            UpstreamError: no challenge can be answered, or the token service does not give a token.
        """
        return self.known(party) or await self._authorizations.once(
            _key(party), lambda: self._answer(party, challenges)
        )

    async def _credential(self, party: Party) -> Credential | None:
        if party.repository is None:
            return None
        return await self._credentials.of(party.registry, party.repository)

    async def _answer(self, party: Party, challenges: Sequence[Challenge]) -> str:
        """Answer the first challenge that can be answered: those that want a token come first, as with other clients.

        Raises:
            UpstreamError: none can be; why not the first one that was tried.
        """
        credential = await self._credential(party)
        failure: UpstreamError | None = None
        for challenge in sorted(challenges, key=lambda challenge: isinstance(challenge, Basic)):
            try:
                value, life_s = await self._granted(party, challenge, credential)
            except UpstreamRateLimited:
                raise
            except UpstreamError as error:
                failure = failure or error
            else:
                self._authorizations.put(_key(party), value, _now() + life_s)
                self._note(_key(party), is_ours=credential is not None)
                return value
        raise failure or UpstreamError(
            Reason.AUTH, f"{party.registry.name} answered 401 without a challenge that this agent understands"
        )

    def _note(self, key: Key, *, is_ours: bool) -> None:
        """Take note of whose an authorization is. It stays so after it has expired: content came by it."""
        self._by_credential.pop(key, None)
        if is_ours:
            self._by_credential[key] = None
            while len(self._by_credential) > self._settings.authorizations_max:
                self._by_credential.popitem(last=False)

    async def _granted(self, party: Party, challenge: Challenge, credential: Credential | None) -> tuple[str, float]:
        """What answers one challenge: the header's value, and the time for which it is used, s."""
        if isinstance(challenge, Bearer):
            return await self._fetch_token(party, challenge, credential)
        if isinstance(credential, Password):
            return _basic(credential), self._settings.basic_s
        host = urlsplit(party.registry.url).netloc
        raise UpstreamError(
            Reason.AUTH,
            f"{party.registry.name} wants a user and password: add an entry for {host} to the file of --upstream-auth",
        )

    async def _fetch_token(self, party: Party, challenge: Bearer, credential: Credential | None) -> tuple[str, float]:
        """Get a token; returns the header's value and the time for which it is used, s."""
        registry, realm = party.registry, realm_of(challenge, party)
        if isinstance(credential, IdentityToken):
            form = token_form(challenge, party.scope, credential.token)
            answer = await self._transport(registry).send("POST", realm, {}, sent_by=registry.name, form=form)
        else:
            headers = {"Authorization": _basic(credential)} if credential else {}
            url = token_url(realm, challenge, party.scope)
            answer = await self._transport(registry).send("GET", url, headers, sent_by=registry.name)
        try:
            if answer.status == 429:
                raise self._rate_limits.note_429(registry, answer.headers, datetime.now(UTC), _now())
            if credential is None and answer.status in (401, 403):
                wanted = party.scope or registry.name
                raise UpstreamUnknown(f"{realm.origin()} gives no token for {wanted} without a user and password")
            if credential is not None and answer.status in _REJECTED:
                raise self._rejected(registry, credential)
            if answer.status != 200:
                raise UpstreamError(
                    Reason.STATUS, f"{realm.origin()} answered {answer.status} to a request for a token"
                )
            body = decoded(
                answer, await answer.read_whole(self._settings.token_bytes_max), self._settings.token_bytes_max
            )
            token = parse_token(body, self._settings)
        finally:
            answer.release()
        return f"Bearer {token.value}", token.expires_in_s - self._settings.token_margin_s


def _key(party: Party) -> Key:
    return party.registry.name, party.url, party.scope


def _basic(credential: Password) -> str:
    return basic_authorization(credential.user, credential.password)


def _now() -> float:
    """Monotonic seconds."""
    return asyncio.get_running_loop().time()
