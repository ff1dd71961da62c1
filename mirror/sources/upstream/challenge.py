"""What a registry wants to see before it answers: its challenges, the request for a token, and the token.

Pure: no input or output happens here. All text comes from outside and must follow the grammar. What does not is an
UpstreamError that says what is wrong, with the reason `auth`, and repeats nothing of it: it may have a secret in it.

Sources: RFC 9110 section 11.6.1 (WWW-Authenticate); distribution, "Token Authentication Specification".
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from ...errors import Reason, UpstreamError
from ...settings import UpstreamSettings
from .registries import Registry

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)|(?=[ \t,])|$)")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*(?=,|$)')
_VALUE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Bearer:
    """The registry wants a token from the service at `realm`, for the service and scope named, if any."""

    realm: str
    service: str | None
    scope: str | None


@dataclass(frozen=True, slots=True)
class Basic:
    """The registry wants a user and password themselves."""


Challenge = Bearer | Basic


@dataclass(frozen=True, slots=True)
class Party:
    """Who wants an authorization, and for what: a registry, or another host to which it redirects.

    Args:
        registry: the operator's.
        url: where the party is: the registry's own URL, or the origin of the other host.
        scope: of what is asked for there, e.g. `repository:library/nginx:pull`.
        repository: the path of the repository whose credential it may see; None if it may see none.
    """

    registry: Registry
    url: str
    scope: str
    repository: str | None = None


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Read the WWW-Authenticate headers of a 401; there may be several, with several challenges each.

    Returns:
        The challenges of the two known schemes, in the registry's order. What cannot be read does not matter where
        another challenge can be.

    Raises:
        UpstreamError: none can be read, and a header is not in the grammar, or a Bearer challenge has no realm.
    """
    challenges: list[Challenge] = []
    failures: list[UpstreamError] = []
    for header in headers:
        try:
            for scheme, parameters in _split(header):
                if scheme == "bearer" and not parameters.get("realm"):
                    failures.append(
                        UpstreamError(Reason.AUTH, "the registry wants a token but does not say where from")
                    )
                elif (challenge := _understood(scheme, parameters)) is not None:
                    challenges.append(challenge)
        except UpstreamError as error:
            failures.append(error)
    if failures and not challenges:
        raise failures[0]
    return challenges


def _split(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Take a header apart into schemes, in lower case, and their parameters, as far as it is in the grammar.

    A comma separates parameters as well as challenges, so only the form of what follows tells which of the two it is.
    """
    scheme, parameters, position = "", dict[str, str](), 0
    while (position := _next(header, position)) < len(header):
        parameter = _PARAMETER.match(header, position) if scheme else None
        other = _SCHEME.match(header, position)
        if parameter is not None:
            name, bare, quoted = parameter.groups()
            parameters[name.lower()] = bare if bare is not None else re.sub(r"\\(.)", r"\1", quoted)
            position = parameter.end()
        elif other is not None:
            if scheme:
                yield scheme, parameters
            scheme, parameters, position = other[1].lower(), {}, other.end()
        else:
            raise UpstreamError(
                Reason.AUTH,
                "the registry answered 401 with a challenge that cannot be read, at character "
                f"{position + 1} of its WWW-Authenticate",
            )
    if scheme:
        yield scheme, parameters


def _next(header: str, position: int) -> int:
    """The position after spaces and commas."""
    return len(header) - len(header[position:].lstrip(" \t,"))


def _understood(scheme: str, parameters: dict[str, str]) -> Challenge | None:
    if scheme == "basic":
        return Basic()
    if scheme != "bearer":
        return None
    return Bearer(parameters["realm"], parameters.get("service"), parameters.get("scope"))


def basic_authorization(username: str, password: str) -> str:
    """The Authorization header's value for a user and password, in UTF-8 (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


_CLIENT = "skvaller"
"""By which name the agent asks a token service for a token; a service may show it to people."""


def realm_of(challenge: Bearer, party: Party) -> URL:
    """The URL of a token service.

    Args:
        challenge: what the party answered.
        party: the one that did.

    Raises:
        UpstreamError: the realm is no URL, or is http for an https registry: the password would go in the clear.
    """
    try:
        realm = URL(challenge.realm).with_user(None).with_fragment(None)
    except ValueError:
        realm = URL()
    if realm.scheme not in ("http", "https") or not realm.host:
        raise UpstreamError(
            Reason.AUTH, f"{party.registry.name} names as its token service what is neither an http nor an https URL"
        )
    if realm.scheme == "http" and not party.url.startswith("http:"):
        raise UpstreamError(
            Reason.AUTH, f"{party.registry.name} sends from https to http for a token, to {realm.origin()}"
        )
    return realm


def token_url(realm: URL, challenge: Bearer, scope: str) -> URL:
    """The URL to ask for a token.

    Args:
        realm: of the token service.
        challenge: what the registry answered.
        scope: to ask for if the challenge names none, e.g. `repository:library/nginx:pull`.
    """
    query = [("service", challenge.service)] if challenge.service else []
    query += [("scope", part) for part in (challenge.scope or scope).split()]
    return realm.extend_query(query)


def token_form(challenge: Bearer, scope: str, identity_token: str) -> dict[str, str]:
    """The form to post for a token, in exchange for an identity token; `challenge` and `scope` as for `token_url`.

    Source: distribution, "OAuth2 Token Authentication"; RFC 6749, section 6.
    """
    return {
        "grant_type": "refresh_token",
        "service": challenge.service or "",
        "client_id": _CLIENT,
        "scope": challenge.scope or scope,
        "refresh_token": identity_token,
    }


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and how long it is good for, in seconds."""

    value: str = field(repr=False)
    expires_in_s: float


def parse_token(body: bytes, settings: UpstreamSettings) -> Token:
    """Read a token service's answer.

    Returns:
        The `token`, or `access_token`, with its `expires_in` held between `token_min_s` and `token_max_s`.

    Raises:
        UpstreamError: it is no JSON object with a token that can stand in a header.
    """
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise UpstreamError(Reason.AUTH, "the token service answered with what is no JSON") from None
    fields = document if isinstance(document, dict) else {}
    value = fields.get("token") or fields.get("access_token")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise UpstreamError(Reason.AUTH, "the token service answered without a token")
    expires_in = fields.get("expires_in")
    if not isinstance(expires_in, int | float):
        expires_in = settings.token_min_s
    return Token(value, min(max(settings.token_min_s, expires_in), settings.token_max_s))
