"""The DNS of a cluster, for headless services alone: `NAME.NAMESPACE.svc.cluster.local` has its pods' addresses.

It runs as a process of its own, in the network namespace of the control plane. It asks the API server at each question.
"""

import argparse
import json
import socket
import ssl
import struct
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

DOMAIN: Final = ("svc", "cluster", "local")
_A: Final = 1
_AAAA: Final = 28
_NAME_ERROR: Final = 3
_TTL_S: Final = 5
"""How long an answer is good, seconds; as CoreDNS' plugin for Kubernetes."""

_ANSWERS_MAX: Final = 25
"""Addresses in an answer, which fits into the 512 bytes of RFC 1035 then."""


def serve(address: str, server: str, tls: ssl.SSLContext) -> None:
    """Answer for ever.

    Args:
        address: IP address to listen on, port 53, UDP.
        server: URL of the API server.
        tls: with a client's certificate.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as listener:
        listener.bind((address, 53))
        while True:
            question, client = listener.recvfrom(512)
            listener.sendto(answer(question, lambda labels: addresses_of(labels, server, tls)), client)


def addresses_of(labels: Sequence[str], server: str, tls: ssl.SSLContext) -> list[str] | None:
    """The addresses of a service's pods, ready or not as it says; None if there is no such service."""
    if len(labels) != 5 or tuple(labels[2:]) != DOMAIN:
        return None
    service, namespace = labels[:2]
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    query = f"?labelSelector=kubernetes.io%2Fservice-name%3D{service}"
    with urllib.request.urlopen(f"{server}{path}{query}", context=tls, timeout=5) as response:
        slices = json.load(response)["items"]
    endpoints = [endpoint for each in slices for endpoint in each["endpoints"] or ()]
    ready = [endpoint for endpoint in endpoints if endpoint["conditions"].get("ready", True)]
    return [address for endpoint in ready for address in endpoint["addresses"]] if slices else None


def answer(question: bytes, look_up: Callable[[Sequence[str]], list[str] | None]) -> bytes:
    """The answer to one DNS message. Source: RFC 1035, 4.1."""
    labels, end = [], 12
    while question[end]:
        labels.append(question[end + 1 : end + 1 + question[end]].decode("ascii", "replace").lower())
        end += question[end] + 1
    (kind,) = struct.unpack_from("!H", question, end + 1)
    found = look_up(labels)
    addresses = [address for address in (found or ())[:_ANSWERS_MAX] if kind == (_AAAA if ":" in address else _A)]
    flags = 0x8580 | (0 if found is not None else _NAME_ERROR)
    head = question[:2] + struct.pack("!5H", flags, 1, len(addresses), 0, 0)
    records = b""
    for address in addresses:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        records += struct.pack("!HHHIH", 0xC00C, kind, 1, _TTL_S, len(packed)) + packed
    return head + question[12 : end + 5] + records


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    for option in ("--address", "--server", "--ca", "--cert", "--key"):
        parser.add_argument(option, required=True)
    given = parser.parse_args()
    tls = ssl.create_default_context(cafile=given.ca)
    tls.load_cert_chain(Path(given.cert), Path(given.key))
    serve(given.address, given.server, tls)


if __name__ == "__main__":
    main()
