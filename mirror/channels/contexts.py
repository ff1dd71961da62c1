"""What the TLS library needs: contexts for both ends of a connection, renewed while the node runs."""

import asyncio
import contextlib
import logging
import os
import ssl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from . import Channel, ChannelError, Identity, PeerTls, issuer_of, names_in

log = logging.getLogger(__name__)

_WITHOUT_AES: Final = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
_WITH_AES: Final = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""Ciphers, the fastest one first, for machines without and with instructions for AES."""


class Issuer(Protocol):
    """Gives a node its certificate."""

    def use(self, keys: Sequence[bytes]) -> None:
        """The cluster has these keys from now on."""
        ...

    def issue(self, now_unix_s: float) -> Identity | None:
        """A certificate and the authorities to believe; None if those given last still hold. Raises ChannelError."""
        ...


class Channels:
    """How this node speaks to members, and they to it.

    Connections that are open keep what they began with; those that begin use what is new.

    Args:
        step: what is sent and accepted.
        issuer: gives the certificate; None where `step` is off.
        denied: names of members that are not believed, whatever certificate they have.
        kernel: whether the kernel may encrypt, where it and Python can.

    Raises:
        ChannelError: the certificate is not in order.
    """

    def __init__(
        self,
        step: PeerTls = PeerTls.OFF,
        issuer: Issuer | None = None,
        denied: Collection[str] = (),
        *,
        kernel: bool = True,
    ) -> None:
        self.step = step
        self._issuer = issuer
        self._denied = frozenset(name.lower() for name in denied)
        self._kernel = kernel
        self._server: ssl.SSLContext | None = None
        self._client: ssl.SSLContext | None = None
        self._dialling: ssl.SSLContext | None = None
        self._issuers: frozenset[str] | None = None
        self._problem = ""
        if issuer is not None and step is not PeerTls.OFF:
            self._renew(issuer)

    @property
    def server(self) -> ssl.SSLContext | None:
        """For connections that members open; None: there is no TLS."""
        return self._server

    @property
    def dialling(self) -> ssl.SSLContext | None:
        """For connections to whoever is at an address: it checks that a member is, not which one."""
        return self._dialling

    @property
    def client(self) -> ssl.SSLContext | None:
        """For connections to members, whose names it checks; None: there is no TLS."""
        return self._client

    def to(self, name: str, *, speaks_tls: bool) -> Channel | None:
        """How a member is reached; None: in clear text.

        Args:
            name: of the member.
            speaks_tls: whether it says that it speaks TLS.
        """
        if self._client is None or not (speaks_tls or self.step is PeerTls.ON):
            return None
        return Channel(self._client, name)

    def is_denied(self, name: str) -> bool:
        """Whether the operator has the member not believed."""
        return name.lower() in self._denied

    def proven(self, certificate: Mapping[str, Any] | None) -> frozenset[str]:
        """The names that the other end has proven by its certificate, in lower case, without those denied.

        None once the key of the cluster that its certificate comes from was removed.
        """
        if certificate is None or (self._issuers is not None and issuer_of(certificate) not in self._issuers):
            return frozenset()
        return names_in(certificate) - self._denied

    def use(self, keys: Sequence[bytes]) -> None:
        """The cluster has these keys from now on."""
        if self._issuer is not None and keys:
            self._issuer.use(keys)
            self.renew()

    def renew(self) -> None:
        """Take a new certificate where one is due. One that is not in order is logged, and the last one stays."""
        if self._issuer is None or self.step is PeerTls.OFF:
            return
        try:
            self._renew(self._issuer)
            self._problem = ""
        except ChannelError as error:
            if str(error) != self._problem:
                log.warning("the certificate is not renewed: %s", error)
            self._problem = str(error)

    async def keep_renewing(self, look_s: float) -> None:
        """Look again and again whether a certificate is due, for ever."""
        while True:
            await asyncio.sleep(look_s)
            self.renew()

    def _renew(self, issuer: Issuer) -> None:
        identity = issuer.issue(time.time())
        if identity is None:
            return
        server = self._context(identity, ssl.PROTOCOL_TLS_SERVER)
        client, dialling = (self._context(identity, ssl.PROTOCOL_TLS_CLIENT) for _ in range(2))
        server.verify_mode = ssl.CERT_REQUIRED
        server.num_tickets = 0  # connections live long, and a ticket would outlive a key that was removed
        client.hostname_checks_common_name = False
        dialling.check_hostname = False
        self._issuers = identity.issuers
        self._server, self._client, self._dialling = server, client, dialling

    def _context(self, identity: Identity, end: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(end)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self._kernel and hasattr(ssl, "OP_ENABLE_KTLS"):
            context.options |= ssl.OP_ENABLE_KTLS
        if hasattr(context, "set_ciphersuites"):  # from Python 3.15 on; before, OpenSSL's configuration decides
            context.set_ciphersuites(_WITH_AES if _has_aes_instructions() else _WITHOUT_AES)
        try:
            context.load_verify_locations(cadata=identity.trusted)
            with _as_file(identity.chain + b"\n" + identity.key) as path:
                context.load_cert_chain(path, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            raise ChannelError(f"the certificate and its key cannot be used: {error}") from error
        return context


def _no_password() -> str:
    raise ChannelError("the certificate's key has a password: give one without, which only its owner can read")


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A file in memory with some content, for a library that takes nothing but files."""
    fd = os.memfd_create("certificate")
    try:
        os.write(fd, content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _has_aes_instructions() -> bool:
    """Whether this machine computes AES in hardware; yes if that is not known. Source: proc_cpuinfo(5)."""
    try:
        with open("/proc/cpuinfo") as file:
            words = [line.split() for line in file if line.startswith(("flags", "Features"))]
    except OSError:
        return True
    return not words or "aes" in words[0]
