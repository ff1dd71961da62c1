"""What the TLS library needs: contexts for both ends of a connection, renewed while the node runs."""

import asyncio
import contextlib
import logging
import math
import os
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from . import Channel, ChannelError, Identity, PeerTls, expiry_unix_s, issuer_of, names_in

log = logging.getLogger(__name__)

_WITHOUT_AES: Final = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
_WITH_AES: Final = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""Ciphers, the fastest one first, for machines without and with instructions for AES."""

_FLIGHTS: Final = 2
"""How often each end of a handshake has its turn. Source: RFC 8446, section 2."""
_OTHER_PURPOSE: Final = 26
_OTHER_NAME: Final = (62, 64)
"""What OpenSSL says of a certificate that is for another purpose, or has not the name or IP address that is looked for.
Source: openssl/x509_vfy.h."""


class Issuer(Protocol):
    """Gives a node its certificate."""

    def use(self, keys: Sequence[bytes]) -> None:
        """The cluster has these keys from now on."""
        ...

    def issue(self, now_unix_s: float) -> Identity | None:
        """A certificate and the authorities to believe; None if those in use still hold. Raises ChannelError."""
        ...

    def confirm(self) -> None:
        """What was issued last is in use: it need not be issued again before it is due."""
        ...


class Channels:
    """How this node speaks to members, and they to it.

    Connections that are open keep what they began with; those that begin use what is new.

    Args:
        step: what is sent and accepted.
        issuer: gives the certificate; None where `step` is off.
        denied: names of members that are not believed; a certificate that has one of them is of no use at all.

    Raises:
        ChannelError: the certificate is not in order.
    """

    def __init__(
        self,
        step: PeerTls = PeerTls.OFF,
        issuer: Issuer | None = None,
        denied: Collection[str] = (),
    ) -> None:
        self.step = step
        self._issuer = issuer
        self._denied = frozenset(name.lower() for name in denied)
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
        """The names that the other end has proven by its certificate, in lower case.

        It has proven no name if one of them is denied, if its certificate has expired since the handshake, or if the
        key of the cluster that the certificate comes from was removed.
        """
        if certificate is None or (self._issuers is not None and issuer_of(certificate) not in self._issuers):
            return frozenset()
        names = names_in(certificate)
        if names & self._denied or expiry_unix_s(certificate) < time.time():
            return frozenset()
        return names

    def use(self, keys: Sequence[bytes]) -> None:
        """The cluster has these keys from now on."""
        if self._issuer is not None and keys:
            self._issuer.use(keys)
            self.renew()

    def renew(self) -> None:
        """Take a new certificate where one is due. If there is none in order, that is logged, and the last one stays.

        It never raises: the tasks that renew, and follow the keys, call it for ever, and nobody looks at how they end.
        """
        if self._issuer is None or self.step is PeerTls.OFF:
            return
        problem, is_unexpected = "", False
        try:
            self._renew(self._issuer)
        except ChannelError as error:
            problem = str(error)
        except Exception as error:  # the root of those tasks
            problem, is_unexpected = repr(error), True
            if problem != self._problem:
                log.exception("the certificate is not renewed, for an error that was not expected")
        if problem and problem != self._problem and not is_unexpected:
            log.warning("the certificate is not renewed: %s", problem)
        self._problem = problem

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
        _rehearse(server, client, identity.name)
        _refuse_unproven(client, self.proven)
        self._issuers = identity.issuers
        self._server, self._client, self._dialling = server, client, dialling
        issuer.confirm()

    def _context(self, identity: Identity, end: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(end)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if hasattr(ssl, "OP_ENABLE_KTLS"):
            context.options |= ssl.OP_ENABLE_KTLS
        if hasattr(context, "set_ciphersuites"):  # from Python 3.15 on; before, OpenSSL's configuration decides
            context.set_ciphersuites(_WITH_AES if _has_aes_instructions() else _WITHOUT_AES)
        try:
            context.load_verify_locations(cadata=identity.trusted)
            with _as_file(identity.chain + b"\n" + identity.key) as path:
                context.load_cert_chain(path, password=_no_password)
        except (OSError, ValueError, TypeError) as error:  # OSError: of TLS, and where no descriptor is left
            raise ChannelError(f"the certificate and its key cannot be used: {error}") from error
        return context


def _rehearse(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Shake hands with this node itself, in memory: others would refuse what it shows without a word here.

    Raises:
        ChannelError: its certificate is none of a member of that name, at one end of a connection or the other.
    """
    asked, answered = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        ends = (
            client.wrap_bio(answered, asked, server_hostname=name),
            server.wrap_bio(asked, answered, server_side=True),
        )
        for _ in range(_FLIGHTS):
            for end in ends:
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _OTHER_NAME:
            raise ChannelError(_unreachable(name)) from error
        why = "it must be for both serverAuth and clientAuth" if error.verify_code == _OTHER_PURPOSE else ""
        raise ChannelError(
            "others will not believe this node's certificate: " + "; ".join(filter(None, (error.verify_message, why)))
        ) from error
    except ssl.SSLError as error:
        raise ChannelError(f"others cannot use this node's certificate: {error}") from error
    except ValueError as error:
        raise ChannelError(_unreachable(name)) from error


def _refuse_unproven(context: ssl.SSLContext, proven: Callable[[Mapping[str, Any] | None], Collection[str]]) -> None:
    """Have a context end each handshake with whoever proves no name: the library alone knows of no denied one.

    It sends nothing either once the other end's certificate has expired: the connection has ended then, and whoever
    wants to go on opens another one.
    """

    def end_of(certificate: Mapping[str, Any] | None) -> float:
        if not proven(certificate):
            error = ssl.SSLCertVerificationError("the certificate is not believed")
            error.verify_message = "it has a name that --tls-deny has, or comes from a key that was removed"
            raise error
        return expiry_unix_s(certificate or {})

    def check(end_unix_s: float) -> None:
        if time.time() > end_unix_s:
            raise ConnectionAbortedError("the certificate of the other end has expired since the handshake")

    class Socket(ssl.SSLSocket):
        end_unix_s = math.inf

        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            self.end_unix_s = end_of(self.getpeercert())

        def send(self, data: Any, flags: int = 0) -> int:
            check(self.end_unix_s)
            return super().send(data, flags)

    class Object(ssl.SSLObject):
        end_unix_s = math.inf

        def do_handshake(self) -> None:
            super().do_handshake()
            self.end_unix_s = end_of(self.getpeercert())

        def write(self, data: Any) -> int:
            check(self.end_unix_s)
            return super().write(data)

    context.sslsocket_class, context.sslobject_class = Socket, Object


def _unreachable(name: str) -> str:
    return (
        f"TLS cannot reach a node of the name {name}; give it, with --name, one whose labels between dots are not "
        "empty, and have at most 63 characters, and that does not look like an IP address"
    )


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
