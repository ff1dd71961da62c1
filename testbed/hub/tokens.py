"""A token service like Docker's, whose signed tokens docker-registry with `auth: token` accepts as well.

It is asked by GET, with a user and password or without; or by POST with an identity token, as OAuth 2 has it. Who may
not see a repository gets a token that allows nothing, as from Docker Hub; who gives a wrong password, 401.

Sources: distribution, "Token Authentication Specification", "Token Authentication Implementation" and "OAuth2 Token
Authentication".
"""

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER: Final = "testbed"
_REFUSED: Final = '{"details":"incorrect username or password"}\n'
_CLOCKS_S: Final = 60
"""How far clocks may differ, s."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token was issued for.

    Args:
        account: of whom; empty: anybody.
        scopes: that are allowed, such as `repository:library/nginx:pull`.
        expires_at: by the monotonic clock, s.
    """

    account: str
    scopes: frozenset[str]
    expires_at: float


@dataclass(slots=True)
class TokenService:
    """Issues tokens.

    Args:
        service: the name by which registries call it.
        may_see: whether an account, or anybody if it is empty, may pull from a repository.
        passwords: by account.
        identity_tokens: the accounts, by token.
        life_s: for how long a token is good, s.
        fields: of the answer that have the token: `token`, `access_token`, or both of them.
    """

    service: str
    may_see: Callable[[str, str], bool]
    passwords: Mapping[str, str] = field(default_factory=dict)
    identity_tokens: Mapping[str, str] = field(default_factory=dict)
    life_s: int = 300
    fields: Sequence[str] = ("token", "access_token")
    asked: list[str] = field(default_factory=list)
    """The scopes that were asked for, in order."""
    _grants: dict[str, Grant] = field(default_factory=dict)
    _signer: "_Signer" = field(default_factory=lambda: _Signer())

    @property
    def certificate(self) -> bytes:
        """Of the key that signs, in PEM: docker-registry's `rootcertbundle`."""
        return self._signer.certificate.public_bytes(serialization.Encoding.PEM)

    def revoke(self) -> None:
        """Let all tokens be good no longer."""
        self._grants.clear()

    def grant(self, token: str) -> Grant | None:
        """What a token is good for now; None if it is no good."""
        grant = self._grants.get(token)
        return grant if grant is not None and time.monotonic() < grant.expires_at else None

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """A request to `/token`."""
        form = dict(await request.post()) if request.method == "POST" else {}
        asked = str(form.get("scope", "")).split() or request.query.getall("scope", [])
        self.asked += asked
        account = self._account(request, form)
        if account is None:
            return web.Response(status=401, text=_REFUSED, content_type="application/json")
        allowed = [scope for scope in asked if self._is_allowed(account, scope)]
        token = self._signer.sign(account, self.service, allowed, self.life_s)
        self._grants[token] = Grant(account, frozenset(allowed), time.monotonic() + self.life_s)
        issued = datetime.now(UTC).isoformat()
        return web.json_response({**dict.fromkeys(self.fields, token), "expires_in": self.life_s, "issued_at": issued})

    def _account(self, request: web.BaseRequest, form: Mapping[str, Any]) -> str | None:
        """Who asks: empty for those who do not say; None for those who are not who they say."""
        if form.get("grant_type") == "refresh_token":
            return self.identity_tokens.get(str(form.get("refresh_token")))
        scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return ""
        user, _, password = base64.b64decode(credential).decode().partition(":")
        return user if self.passwords.get(user) == password else None

    def _is_allowed(self, account: str, scope: str) -> bool:
        kind, repository, actions = scope.split(":")
        return kind == "repository" and actions == "pull" and self.may_see(account, repository)


class _Signer:
    """Signs tokens with a key of its own."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ISSUER)]), datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(self._key, hashes.SHA256())
        )

    def sign(self, account: str, service: str, scopes: Sequence[str], life_s: int) -> str:
        """A JSON web token."""
        access = [dict(zip(("type", "name", "actions"), _parts(scope), strict=True)) for scope in scopes]
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": ISSUER,
            "sub": account,
            "aud": service,
            "access": access,
            "jti": secrets.token_hex(8),
        }
        claims |= {"nbf": now - _CLOCKS_S, "iat": now - _CLOCKS_S, "exp": now + life_s}
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        signed = ".".join(_unpadded(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_unpadded(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _parts(scope: str) -> tuple[str, str, list[str]]:
    kind, name, actions = scope.split(":")
    return kind, name, actions.split(",")


def _unpadded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")
