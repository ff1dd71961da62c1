"""The servers that are compared, each set up as its own documentation would for the job at hand.

Where several serve the same content, its files are links to one file: all read the same pages of the page cache.
"""

import hashlib
import os
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from .content import REPOSITORY, Content
from .processes import Address, Server, free_address
from .report import OURS

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

_REGISTRY = """\
version: 0.1
log: {{ level: error, accesslog: {{ disabled: true }} }}
storage:
  cache: {{ blobdescriptor: inmemory }}
  filesystem: {{ rootdirectory: {folder}/store }}
http: {{ addr: "{address}", secret: bench }}
{extra}
"""

_REGISTRY_TREE = "docker/registry/v2"


class Agent(Server):
    """An agent of ours.

    Args:
        folder: for its data; what `content` names is in its cache from the start.
        content: what it holds.
        join: gossip addresses of other agents.
        upstream: the registry that it takes for docker.io; without one, nothing.
    """

    def __init__(
        self,
        folder: Path,
        content: Sequence[Content] = (),
        join: Sequence[Address] = (),
        upstream: Address | None = None,
    ) -> None:
        folder.mkdir()
        self.gossip = free_address()
        self._folder = folder
        for item in content:
            _link(item.file, self._blob(item))
        address = free_address()
        flags = ["--name", folder.name, "--data-dir", str(folder), "--log-level", "warning"]
        flags += ["--listen", str(address), "--peer", str(free_address()), "--gossip", str(self.gossip)]
        flags += [flag for seed in join for flag in ("--join", str(seed))]
        flags += ["--upstream", f"docker.io=http://{upstream}"] if upstream else []
        super().__init__(OURS, [sys.executable, "-m", "mirror", "agent", *flags], address, folder / "log")

    def stored(self, content: Content) -> bool:
        """Whether content is in its cache, complete and verified."""
        return self._blob(content).exists()

    def loop_lag_s(self, quantile: str) -> float:
        """How late its event loop, gossip's too, ran in the last minute, s."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        name = f'gossip_loop_lag_seconds{{quantile="{quantile}"}} '
        return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    def _blob(self, content: Content) -> Path:
        return self._folder / "cache/blobs/sha256" / content.hex[:2] / content.hex


class NginxFiles(Server):
    """nginx that serves files with sendfile."""

    def __init__(self, folder: Path, content: Sequence[Content]) -> None:
        folder.mkdir()
        for item in content:
            _link(item.file, folder / "root" / item.path.lstrip("/"))
        address = free_address()
        super().__init__("nginx", _nginx(folder, address, "", f"root {folder}/root;"), address, folder / "log")


class NginxCache(Server):
    """nginx as a caching proxy, with buffers large enough for the job."""

    def __init__(self, folder: Path, upstream: Address) -> None:
        folder.mkdir()
        self._folder = folder
        address = free_address()
        extra = f"proxy_cache_path {folder}/cache keys_zone=relay:1m max_size=100g use_temp_path=off;"
        command = _nginx(folder, address, extra, _NGINX_PROXY.format(upstream=upstream))
        super().__init__("nginx proxy_cache", command, address, folder / "log")

    def stored(self, content: Content) -> bool:
        """Whether content is in its cache."""
        return (self._folder / "cache" / hashlib.md5(content.path.encode()).hexdigest()).exists()


class Registry(Server):
    """docker-registry, with content from the start or, given an upstream, as a pull-through cache."""

    def __init__(self, folder: Path, content: Sequence[Content] = (), upstream: Address | None = None) -> None:
        folder.mkdir()
        self._store = folder / "store"
        for item in content:
            put(self._store, item)
        address = free_address()
        extra = f"proxy: {{ remoteurl: http://{upstream} }}" if upstream else ""
        settings = folder / "config.yml"
        settings.write_text(_REGISTRY.format(folder=folder, address=address, extra=extra))
        name = "docker-registry proxy" if upstream else "docker-registry"
        super().__init__(name, ["docker-registry", "serve", str(settings)], address, folder / "log")

    def stored(self, content: Content) -> bool:
        """Whether content is in its store."""
        return stored_at(self._store, content).exists()


def put(store: Path, content: Content, tag: str | None = None) -> None:
    """Put content where a docker-registry over this folder has it, under a tag if it is a manifest that has one."""
    _link(content.file, stored_at(store, content))
    repository = store / _REGISTRY_TREE / "repositories" / REPOSITORY
    within = "_layers" if content.kind == "blobs" else "_manifests/revisions"
    links = [repository / within / "sha256" / content.hex / "link"]
    if tag is not None:
        tagged = repository / "_manifests/tags" / tag
        links += [tagged / "current/link", tagged / "index/sha256" / content.hex / "link"]
    for link in links:
        link.parent.mkdir(parents=True)
        link.write_text(f"sha256:{content.hex}")


def stored_at(store: Path, content: Content) -> Path:
    """Where a docker-registry over this folder keeps content."""
    return store / _REGISTRY_TREE / "blobs/sha256" / content.hex[:2] / content.hex / "data"


def _nginx(folder: Path, address: Address, extra: str, location: str) -> list[str]:
    settings = folder / "nginx.conf"
    user = "user root root;" if os.geteuid() == 0 else ""
    settings.write_text(_NGINX.format(folder=folder, address=address, user=user, extra=extra, location=location))
    return ["nginx", "-p", str(folder), "-c", str(settings), "-e", "stderr"]


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
