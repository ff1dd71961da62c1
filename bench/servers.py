"""The servers that are compared, each set up as its documentation recommends for this job.

Where several serve the same content, its files are links to one file: all read the same pages of the page cache.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from mirror.stores.proofs import ContentHasher, Proof
from testbed.agents import Agent, Endpoints
from testbed.network import Address, free_address
from testbed.registry import Registry
from testbed.servers import Server

from .content import REPOSITORY, Content
from .report import MIB, OURS

_NGINX = """\
{user}
worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  default_type application/octet-stream;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/temp;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {extra}
  server {{
    listen {address};
    location = /v2/ {{ return 200 "{{}}"; }}
    location / {{ {location} }}
  }}
}}
"""

_NGINX_PROXY = """\
proxy_pass http://{upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache relay;
      proxy_cache_key $uri;
      proxy_cache_valid 200 1d;
      proxy_buffer_size 256k;
      proxy_buffers 8 256k;
      proxy_busy_buffers_size 512k;
    """


class LoneAgent(Agent):
    """An agent on 127.0.0.1. In tables it has the project's name, in its cluster that of its folder.

    Args:
        folder: for its data; what `content` names is in its cache from the start.
        content: what it holds.
        join: gossip addresses of other agents.
        upstream: the registry that it takes for docker.io; without one, nothing.
        flags: more flags.
    """

    def __init__(
        self,
        folder: Path,
        content: Sequence[Content] = (),
        join: Sequence[str] = (),
        upstream: Address | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        flags = ["--log-level", "warning", *flags, *(flag for seed in join for flag in ("--join", seed))]
        flags += ["--upstream", f"docker.io=http://{upstream}"] if upstream else []
        super().__init__(folder, folder.name, Endpoints.free(), flags)
        self.name = OURS
        for item in content:
            put_into_cache(folder, item)

    def loop_lag_ms(self) -> float:
        """How late one turn in a hundred of its event loop was in the last minute, milliseconds."""
        return 1000 * self.metrics()['skvaller_event_loop_lag_seconds{percentile="99"}']


def put_into_cache(folder: Path, item: Content) -> None:
    """Have an agent hold some content, and its proof, before it starts with this folder for its data."""
    _link(item.file, folder / "cache/blobs/sha256" / item.hex[:2] / item.hex)
    proof = folder / "cache/proofs" / item.hex[:2] / item.hex
    proof.parent.mkdir(parents=True, exist_ok=True)
    proof.write_bytes(_proof_of(item.file).encode())


def _proof_of(file: Path) -> Proof:
    """What an agent keeps beside a file that it has hashed; without it, it would hash the file before it serves it."""
    with file.open("rb") as content:
        hasher = ContentHasher(os.fstat(content.fileno()).st_size)
        while part := content.read(MIB):
            hasher.update(memoryview(part))
    return hasher.proof()


class Nginx(Server):
    """An nginx in the foreground; its workers stop with it.

    Args:
        name: for tables.
        folder: for its files; made if it is not there.
        location: what it does with requests, in the language of its configuration.
        extra: more of its settings.
    """

    def __init__(self, name: str, folder: Path, location: str, extra: str = "") -> None:
        folder.mkdir(exist_ok=True)
        address = free_address()
        user = "user root root;" if os.geteuid() == 0 else ""
        settings = folder / "nginx.conf"
        settings.write_text(_NGINX.format(folder=folder, address=address, user=user, extra=extra, location=location))
        command = ["nginx", "-p", str(folder), "-c", str(settings), "-e", "stderr"]
        super().__init__(name, command, address, folder / "log", orphan_signal="TERM")


class NginxFiles(Nginx):
    """nginx that serves files with sendfile."""

    def __init__(self, folder: Path, content: Sequence[Content]) -> None:
        super().__init__("nginx", folder, f"root {folder}/root;")
        for item in content:
            _link(item.file, folder / "root" / item.path.lstrip("/"))


class NginxCache(Nginx):
    """nginx as a caching proxy, with buffers large enough for the job."""

    def __init__(self, folder: Path, upstream: Address) -> None:
        self._cache = folder / "cache"
        extra = f"proxy_cache_path {self._cache} keys_zone=relay:1m max_size=100g use_temp_path=off;"
        super().__init__("nginx proxy_cache", folder, _NGINX_PROXY.format(upstream=upstream), extra)

    def stored(self, content: Content) -> bool:
        """Whether content is in its cache, under the md5 of the key that the settings give it."""
        return (self._cache / hashlib.md5(content.path.encode()).hexdigest()).exists()


def registry(folder: Path, content: Sequence[Content] = (), upstream: Address | None = None) -> Registry:
    """A docker-registry, with content from the start or, given an upstream, as a pull-through cache."""
    source = f"http://{upstream}" if upstream else None
    made = Registry(folder, free_address(), upstream=source, access_log=False)
    for item in content:
        made.link(item.file, REPOSITORY, item.kind, item.digest)
    return made


def has_stored(server: Server, content: Content) -> bool:
    """Whether a server has stored some content."""
    match server:
        case Agent():
            return server.has_cached(content.digest)
        case Registry():
            return server.stored(content.digest)
        case NginxCache():
            return server.stored(content)
        case _:
            raise AssertionError(f"{server.name} stores nothing")


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
