"""A company's registry, with its token service and its object store beside it, in a private network."""

import asyncio
import socket
from typing import Any

import pytest

from mirror.errors import UpstreamRefused
from testbed.network import Network, inside
from tests.loopback.registries import A_BLOB, BLOB, TokenService, fetch, ranged, serving, to, upstream

HOSTS = {
    "harbor.corp.example": "10.9.0.5",
    "auth.corp.example": "10.9.0.6",
    "minio.corp.example": "10.9.0.7",
    "minio.other.example": "10.9.0.7",
    "self.corp.example": "127.0.0.1",
}


def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOSTS[host], 0))]


def named(url: str, host: str) -> str:
    return url.replace(HOSTS[host], host)


async def pull(store: str, *trust: str) -> bytes:
    """A blob of a registry whose redirects lead to a host."""
    service = TokenService()
    async with (
        serving(service.issue, HOSTS["auth.corp.example"]) as tokens,
        serving(ranged, HOSTS[store]) as blobs,
        serving(service.guarding(to(named(blobs.url, store))), HOSTS["harbor.corp.example"]) as harbor,
        upstream(named(harbor.url, "harbor.corp.example"), trust=trust, look_up=look_up) as client,
    ):
        service.url = named(tokens.url, "auth.corp.example")
        return await fetch(client, A_BLOB)


def test_it_leads_to_hosts_of_its_own_domain_and_elsewhere_only_where_it_is_trusted(network: Network) -> None:
    host = network.host("company")
    for address in sorted(set(HOSTS.values()) - {"127.0.0.1"}):
        host.run("ip", "address", "add", f"{address}/32", "dev", "lo")

    def pulled(store: str, *trust: str) -> bytes:
        return inside(host.netns, lambda: asyncio.run(pull(store, *trust)))

    assert pulled("minio.corp.example") == BLOB
    assert pulled("minio.other.example", "minio.other.example") == BLOB
    assert pulled("minio.other.example", "10.9.0.0/24") == BLOB
    for store in ("minio.other.example", "self.corp.example"):
        with pytest.raises(UpstreamRefused, match=f"harbor.corp.example.* sends on to {store}.*--upstream-trust"):
            pulled(store)
