"""Credentials as values. No representation shows a secret."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Password:
    """A user and a password."""

    user: str
    password: str = field(repr=False)

    def __str__(self) -> str:
        return f"the password of user {self.user!r}"


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """What a registry's token service exchanges for tokens: an OAuth 2 refresh token."""

    token: str = field(repr=False)

    def __str__(self) -> str:
        return "its identity token"


Credential = Password | IdentityToken
