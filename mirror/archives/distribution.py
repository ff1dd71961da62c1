"""A registry over the distribution API, as `load` and `save` use an agent: one connection, one request at a time.

Source: OCI distribution-spec, "Pulling" and "Pushing".
"""

import base64
import contextlib
import http.client
import socket
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ..errors import AgentError
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_MAX_BYTES, MEDIA_TYPES
from ..oci.reference import Repository
from ..settings import ArchiveSettings
from ..sources import COMMAND_HEADER, HOP_HEADER
from .connection import Answer, Connection, Send
from .reading import Extent

_VERSION_HEADER: Final = "docker-distribution-api-version"
"""Every registry says it with each answer."""
_ACCEPT: Final = ", ".join((*MEDIA_TYPES, "*/*;q=0.5"))
Report = Callable[[int], None]
"""Is told how many bytes have gone, or come, since it was last told."""


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest as a registry gives it.

    Args:
        digest: of its body, from its bytes.
        media_type: as the registry states it.
        body: its bytes.
    """

    digest: Digest
    media_type: str
    body: bytes


class Distribution:
    """A client of one registry. Raises AgentError where that does not answer, or answers an error.

    Args:
        url: `http://HOST:PORT`, `https://…`, or `unix:/PATH`.
        command: whose it is.
        password: logs in with it; None: it does not log in.
        settings: bounds.
    """

    def __init__(self, url: str, command: str, password: str | None, settings: ArchiveSettings) -> None:
        headers = {COMMAND_HEADER: command, "Accept": _ACCEPT}
        if password is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"skvaller:{password}".encode()).decode()
        self._sent_bytes = settings.sent_bytes
        self._connection = Connection(url, headers, settings)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # Reading

    def has(self, repository: Repository, kind: str, digest: Digest) -> bool:
        """Whether the agent itself holds some content: no other place is asked."""
        answer = self._connection.ask("HEAD", _path(repository, f"{kind}/{digest}"), {HOP_HEADER: "1"})
        if answer.status not in (200, 404):
            raise self._connection.error(answer, f"{repository}@{digest}")
        return answer.status == http.HTTPStatus.OK

    def manifest(self, repository: Repository, what: str) -> Found | None:
        """A manifest by its tag or digest; None if nobody has it."""
        answer = self._connection.ask("GET", _path(repository, f"manifests/{what}"), {}, MANIFEST_MAX_BYTES + 1)
        if answer.status == http.HTTPStatus.NOT_FOUND:
            if _VERSION_HEADER not in answer.headers:
                raise self._connection.serves_no_images()
            return None
        if answer.status != http.HTTPStatus.OK:
            raise self._connection.error(answer, f"{repository}, {what}")
        if len(answer.body) > MANIFEST_MAX_BYTES:
            raise AgentError(f"{self._connection.url}: the manifest {what} has more than {MANIFEST_MAX_BYTES:,} bytes")
        return Found(Digest.of(answer.body), answer.headers.get("content-type", ""), answer.body)

    @contextlib.contextmanager
    def blob(self, repository: Repository, digest: Digest, start: int) -> Iterator[http.client.HTTPResponse]:
        """The bytes of a blob, from some byte on."""
        path = _path(repository, f"blobs/{digest}")
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self._connection.open("GET", path, headers)
        if response.status != (http.HTTPStatus.PARTIAL_CONTENT if start else http.HTTPStatus.OK):
            raise self._connection.error(self._connection.read(response), f"{repository}@{digest}")
        try:
            yield response
        finally:
            if not response.isclosed():
                self._connection.close()

    # Writing

    def mount(self, repository: Repository, digest: Digest, source: Repository) -> bool:
        """Have a blob that is in one repository in another one as well; tell whether that went well."""
        query = {"mount": str(digest), "from": source.path}
        answer = self._connection.ask("POST", _path(repository, "blobs/uploads/", **query))
        if answer.status not in (http.HTTPStatus.CREATED, http.HTTPStatus.ACCEPTED):
            raise self._connection.error(answer, f"{repository}@{digest}")
        return answer.status == http.HTTPStatus.CREATED

    def upload_file(self, repository: Repository, digest: Digest, extent: Extent, report: Report) -> None:
        """Upload part of a file whose digest is known; the registry checks it."""
        place = self._begin(repository)

        def send(connection: socket.socket) -> None:
            with open(extent.fd, "rb", buffering=0, closefd=False) as file:
                at, end = extent.start, extent.start + extent.size
                while at < end:
                    sent = connection.sendfile(file, at, min(self._sent_bytes, end - at))
                    if not sent:
                        raise AgentError(f"{digest} ends early: does somebody change the archive?")
                    at += sent
                    report(sent)

        self._finish(place, digest, extent.size, send)

    def upload_bytes(self, repository: Repository, digest: Digest, content: bytes) -> None:
        """Upload something small."""
        self._finish(self._begin(repository), digest, len(content), lambda connection: connection.sendall(content))

    def upload_stated(self, repository: Repository, digest: Digest, size: int, parts: Iterable[bytes]) -> None:
        """Upload what comes in parts, and whose digest is known; the registry checks it."""

        def send(connection: socket.socket) -> None:
            for part in parts:
                connection.sendall(part)

        self._finish(self._begin(repository), digest, size, send)

    def upload_parts(self, repository: Repository, size: int, parts: Iterable[bytes]) -> str:
        """Begin to upload what comes in parts, whose digest is known only at the end; return where to `end` it."""

        def send(connection: socket.socket) -> None:
            for part in parts:
                connection.sendall(part)

        answer = self._connection.send("PATCH", self._begin(repository), size, send)
        if answer.status != http.HTTPStatus.ACCEPTED:
            raise self._connection.error(answer, str(repository))
        return self._place(answer)

    def end(self, place: str, digest: Digest) -> None:
        """End an upload, all of whose parts have gone."""
        self._finish(place, digest, 0, lambda connection: None)

    def put_manifest(self, repository: Repository, what: str, body: bytes, media_type: str) -> None:
        """Put a manifest, whose parts are there, under a tag or its digest."""
        path = _path(repository, f"manifests/{what}")
        answer = self._connection.send("PUT", path, len(body), lambda connection: connection.sendall(body), media_type)
        if answer.status != http.HTTPStatus.CREATED:
            raise self._connection.error(answer, f"{repository}, {what}")

    def _begin(self, repository: Repository) -> str:
        """Begin an upload; return the path where it goes on."""
        answer = self._connection.ask("POST", _path(repository, "blobs/uploads/"))
        if answer.status != http.HTTPStatus.ACCEPTED:
            raise self._connection.error(answer, str(repository))
        return self._place(answer)

    def _finish(self, place: str, digest: Digest, size: int, send: Send) -> None:
        answer = self._connection.send("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", size, send)
        if answer.status != http.HTTPStatus.CREATED:
            raise self._connection.error(answer, str(digest))

    def _place(self, answer: Answer) -> str:
        """Where an upload goes on: at the same address, wherever the registry believes that it is."""
        parts = urllib.parse.urlsplit(answer.headers.get("location", ""))
        if not parts.path.startswith("/"):
            raise AgentError(
                f"{self._connection.url} does not say where an upload goes on: is this an agent?", answer.status
            )
        return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _path(repository: Repository, rest: str, **query: str) -> str:
    """A path of the API, with the registry that is meant."""
    return f"/v2/{repository.path}/{rest}?" + urllib.parse.urlencode({"ns": repository.registry, **query})
