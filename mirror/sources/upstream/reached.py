"""How a registry is reached: through a proxy, and by which certificates each side is known."""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ...errors import ConfigError

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, which is asked for the address that a URL names, and to pass on what TLS keeps from it.

    Args:
        url: http, with a port, without userinfo.
        username, password: for its basic authentication; both or neither.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> "Proxy":
        """Read an operator's URL; raise ConfigError, which shows no password."""
        allowed = "http://, optional user:password@, percent-encoded, host and :port"
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname or "", parts.port or 80
        except ValueError:
            raise ConfigError(f"the proxy is no URL; give {allowed}") from None
        host = f"[{host}]" if ":" in host else host
        if parts.scheme != "http" or not _HOST.fullmatch(host) or parts.path.strip("/") or parts.query:
            raise ConfigError(f"the proxy {parts.scheme}://{host} is not allowed; give {allowed}")
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(f"http://{host}:{port}", username or None, password if username else None)


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy is used for which URL. Without any: none is.

    Args:
        http: the one for http URLs.
        https: the one for https URLs.
        exempt: hosts, which stand for all below them as well, and networks; `*` stands for all.
    """

    http: Proxy | None = None
    https: Proxy | None = None
    exempt: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Proxies":
        """Read an operator's `none`, or one URL for all; raise ConfigError, which shows no password."""
        if text.lower() == "none":
            return cls()
        proxy = Proxy.parse(text)
        return cls(proxy, proxy)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Proxies":
        """Those that the environment names, as for most programs: `https_proxy`, `http_proxy` and `no_proxy`.

        Raises:
            ConfigError: a variable names no proxy.
        """
        found: dict[str, Proxy | None] = {}
        for name in ("http_proxy", "https_proxy"):
            text = environment.get(name) or environment.get(name.upper())
            try:
                found[name] = Proxy.parse(text) if text else None
            except ConfigError as error:
                raise ConfigError(f"{name.upper()}: {error}") from None
        exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        exempted = tuple(entry.strip().lower() for entry in exempt.split(",") if entry.strip())
        return cls(found["http_proxy"], found["https_proxy"], exempted)

    def of(self, url: str) -> Proxy | None:
        """The proxy for a URL. This machine itself is never asked through one."""
        proxy = self.https if url.startswith("https:") else self.http
        if proxy is None:
            return None
        host = urlsplit(url).hostname or ""
        is_exempt = _is_loopback(host) or any(_is_exempt(host, entry) for entry in self.exempt)
        return None if is_exempt else proxy


@dataclass(frozen=True, slots=True)
class Reached:
    """How a registry is reached.

    Args:
        ca: certificates of authorities that are believed beside the system's, in PEM.
        cert, key: this agent's own certificate for the registry's host, in PEM; both or neither.
        proxies: through which proxies; None: through those for all registries.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    proxies: Proxies | None = None

    def context(self, *, with_certificate: bool) -> ssl.SSLContext:
        """What TLS needs. It reads files, and those of the system take some 20 ms.

        Args:
            with_certificate: whether the other side gets to see this agent's certificate.

        Raises:
            ConfigError: a file cannot be read, or is not what it should be.
        """
        context = ssl.create_default_context()
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
            if with_certificate and self.cert is not None:
                context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (OSError, ValueError) as error:
            files = " or ".join(str(file) for file in (self.ca, self.cert, self.key) if file is not None)
            reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
            raise ConfigError(f"{files} cannot be used as certificates and key, in PEM: {reason}") from None
        return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_exempt(host: str, entry: str) -> bool:
    if entry == "*":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        domain = entry.removeprefix("*").removeprefix(".").partition(":")[0]
        return host == domain or host.endswith(f".{domain}")
    try:
        return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _no_password() -> str:
    """Instead of a question on the terminal, for a key that is encrypted."""
    raise ValueError("the key is encrypted, and nobody is there to be asked for its password")
