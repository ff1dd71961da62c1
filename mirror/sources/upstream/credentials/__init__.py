"""Who this agent is to a registry: a user with a password, or an identity token; from a file, a program, or a URL."""

from .auth_file import AuthFile, AuthPath, with_hosts
from .known import Credentials
from .values import Credential, IdentityToken, Password

__all__ = ["AuthFile", "AuthPath", "Credential", "Credentials", "IdentityToken", "Password", "with_hosts"]
