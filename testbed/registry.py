"""Debian's docker-registry, with content that is pushed or linked in, or as a pull-through cache."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .images import Image
from .network import Address
from .processes import run, wait_until
from .servers import Server

_TREE: Final = "docker/registry/v2"
_ACCESS: Final = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d{3}) (?P<size>\d+)')


@dataclass(frozen=True, slots=True)
class Access:
    """One line of a registry's access log; `size` is that of the body as far as it was sent, in bytes."""

    method: str
    path: str
    status: int
    size: int


class Registry(Server):
    """A docker-registry over a folder.

    Args:
        folder: for its files, settings and log; made if it is not there.
        address: where it listens.
        netns: network namespace that it runs in.
        upstream: URL of the registry of which it is a pull-through cache; without one it is an ordinary registry.
        access_log: whether it logs every request, as `accesses` needs.
        settings: more of its settings, by section, such as `http` with `tls`, or `auth` with `htpasswd`.
    """

    def __init__(
        self,
        folder: Path,
        address: Address,
        *,
        netns: str | None = None,
        upstream: str | None = None,
        access_log: bool = True,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._store = folder / "store"
        usual: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": not access_log}},
            "storage": {"cache": {"blobdescriptor": "inmemory"}, "filesystem": {"rootdirectory": str(self._store)}},
            "http": {"addr": str(address), "secret": "testbed"},
        }
        if upstream is not None:
            usual["proxy"] = {"remoteurl": upstream}
        for section, more in (settings or {}).items():
            usual[section] = {**usual.get(section, {}), **more}
        file = folder / "config.yml"
        file.write_text(json.dumps(usual))  # which is YAML as well
        name = "docker-registry proxy" if upstream else "docker-registry"
        command = ["docker-registry", "serve", str(file)]
        super().__init__(name, command, address, folder / "registry.log", netns=netns)

    # What it has

    def push(self, image: Image, repository: str, tag: str) -> None:
        """Put an image in with skopeo, its manifest byte for byte."""
        source_tag = image.name.rpartition(":")[2]
        run(
            [
                *("skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"),
                f"oci:{image.layout}:{source_tag}",
                f"docker://{self.address}/{repository}:{tag}",
            ],
            netns=self.netns,
        )

    def hold(self, image: Image, repository: str, tag: str) -> None:
        """Put an image in by links to its files, without copying a byte, before the registry starts."""
        for digest in (image.config, *image.layers):
            self.link(image.path(digest), repository, "blobs", digest)
        self.link(image.path(image.manifest), repository, "manifests", image.manifest, tag)

    def link(self, file: Path, repository: str, kind: str, digest: str, tag: str | None = None) -> None:
        """Put content in by a link to its file.

        Args:
            file: its bytes, on the same file system.
            repository: where it is found.
            kind: `blobs` or `manifests`, as in the API's paths.
            digest: of the content.
            tag: of a manifest, if it is to have one.
        """
        stored = self._path(digest)
        stored.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, stored)
        folder = self._store / _TREE / "repositories" / repository
        within = "_layers" if kind == "blobs" else "_manifests/revisions"
        name = digest.removeprefix("sha256:")
        links = [folder / within / "sha256" / name / "link"]
        if tag is not None:
            tagged = folder / "_manifests/tags" / tag
            links += [tagged / "current/link", tagged / "index/sha256" / name / "link"]
        for link in links:
            link.parent.mkdir(parents=True)
            link.write_text(digest)

    def move(self, repository: str, tag: str, digest: str) -> None:
        """Let a tag mean another manifest that the repository has, from the next question on."""
        link = self._store / _TREE / "repositories" / repository / "_manifests/tags" / tag / "current/link"
        link.parent.mkdir(parents=True, exist_ok=True)
        new = link.with_name("new")
        new.write_text(digest)
        new.replace(link)

    def stored(self, *digests: str) -> bool:
        """Whether it has all of some content."""
        return all(self._path(digest).exists() for digest in digests)

    # What it was asked

    def accesses(self, method: str = "GET", containing: str = "") -> list[Access]:
        """Read the access log: requests by a method whose path contains a text, in order."""
        found = map(_ACCESS.search, self.output.splitlines())
        accesses = (Access(m["method"], m["path"], int(m["status"]), int(m["size"])) for m in found if m)
        return [access for access in accesses if access.method == method and containing in access.path]

    def served(self, *digests: str, least: int | None = None) -> int:
        """Bytes that it has sent of some contents, in all requests together.

        Args:
            digests: of the contents.
            least: wait until it is this many: a request enters the log only after its last byte has gone.
        """

        def count() -> int:
            return sum(access.size for digest in digests for access in self.accesses("GET", digest))

        if least is not None:
            wait_until(lambda: count() >= least, f"{least} bytes in the registry's log")
        return count()

    def forget_accesses(self) -> None:
        """Empty the access log, for example after pushing."""
        os.truncate(self.log, 0)

    def _path(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        return self._store / _TREE / "blobs/sha256" / name[:2] / name / "data"
