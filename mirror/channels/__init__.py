"""Channels between members: TLS both ways, with certificates that prove which member is at the other end.

`certificates` makes certificates from the cluster's key, in memory; `files` reads those of an operator's own authority;
`contexts` makes of either what a TLS library needs, and renews it.
"""

import enum
import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class PeerTls(enum.StrEnum):
    """What members send each other and accept: the steps from clear text to TLS on a running cluster, and back."""

    OFF = "off"
    """Clear text, signed where there is a key; nothing else is accepted."""
    PREFER = "prefer"
    """TLS to members that say that they speak it, clear text to others; both are accepted."""
    ON = "on"
    """TLS alone."""


class ChannelError(Exception):
    """A certificate, its key or its authority is not in order; the message says what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node shows, and whom it believes.

    Args:
        chain: its certificate in PEM, and those between it and its authority.
        key: of the certificate, in PEM.
        trusted: the certificates of the authorities, in PEM and nothing else.
        name: of the node, by which others reach it.
        issuers: the names of those that may have signed a member's certificate, which is looked at for each request, so
            that a key that was removed is of no use on open connections either; None: the handshake alone decides.
    """

    chain: bytes
    key: bytes
    trusted: str
    name: str
    issuers: frozenset[str] | None = None

    def __repr__(self) -> str:
        return "Identity(…)"  # never the key


@dataclass(frozen=True, slots=True)
class Channel:
    """How one member is reached by TLS. Two are equal if a connection of the one may be used for the other.

    Args:
        context: shows this node's certificate, and checks that of the other end.
        name: of the member that is meant; its certificate must have it.
    """

    context: ssl.SSLContext
    name: str


def names_in(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """The DNS names in a certificate, as `ssl.SSLSocket.getpeercert` gives it; in lower case."""
    alternatives = (certificate or {}).get("subjectAltName", ())
    return frozenset(value.lower() for kind, value in alternatives if kind == "DNS")


def expiry_unix_s(certificate: Mapping[str, Any]) -> float:
    """Until when a certificate is valid, Unix time, s; for ever if it does not say."""
    end = certificate.get("notAfter")
    return math.inf if end is None else ssl.cert_time_to_seconds(end)


def issuer_of(certificate: Mapping[str, Any]) -> str:
    """The name of who signed a certificate."""
    parts = dict(part for (part,) in certificate.get("issuer", ()))
    return str(parts.get("commonName", ""))


def tls_problem(error: ssl.SSLError) -> str:
    """Why TLS was not agreed on, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    return f"no TLS with it: {(error.reason or str(error)).lower().replace('_', ' ')}"
