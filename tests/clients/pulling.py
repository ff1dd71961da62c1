"""A client that pulls over plain HTTP as containerd does, and accepts nothing that containerd would not.

It asks for the tag by HEAD, for the manifest by digest, then for configuration and layers side by side, and checks
sizes and digests. Any status but 200 fails the pull. So does an answer that ends early, unless the client may start
that blob again, as people do. Wrong bytes of the right length always fail it.
"""

import hashlib
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from testbed.agents import Agent
from testbed.network import enter

T = TypeVar("T")

_PARALLEL = 3
_SILENCE_S = 40
_READ_BYTES = 256 * 1024


class PullError(Exception):
    """A pull has failed; the message says why."""


class _CutShort(Exception):
    """An answer ended early."""


class Client:
    """Pulls through one agent.

    Args:
        agent: which; the client is on the same host.
        insists: how often it may start a blob again whose answer ended early.
    """

    def __init__(self, agent: Agent, *, insists: int = 0) -> None:
        self.agent = agent
        self.begun_anew = 0
        self._insists = insists

    def pull(self, image: str) -> str:
        """Pull `repository:tag` of docker.io; return the digest of its manifest."""
        repository, _, tag = image.rpartition(":")
        with ThreadPoolExecutor(_PARALLEL, initializer=self._enter) as threads:
            digest = threads.submit(self._resolve, f"/v2/{repository}/manifests/{tag}").result()
            manifest = json.loads(threads.submit(self._blob, f"/v2/{repository}/manifests/", digest, None).result())
            wanted = [manifest["config"], *manifest["layers"]]
            blobs = [
                threads.submit(self._blob, f"/v2/{repository}/blobs/", row["digest"], row["size"]) for row in wanted
            ]
            for blob in blobs:
                blob.result()
        return digest

    def get(self, path: str, *, wanted: str = "") -> bytes:
        """Get one thing whole, a range of it if `wanted` says so (`bytes=…`)."""
        with ThreadPoolExecutor(1, initializer=self._enter) as thread:
            return thread.submit(self._get, path, wanted).result()

    def _enter(self) -> None:
        if self.agent.netns is not None:
            enter(self.agent.netns)

    def _resolve(self, path: str) -> str:
        connection = self._connect()
        try:
            connection.request("HEAD", f"{path}?ns=docker.io")
            answer = connection.getresponse()
            self._expect(answer, "HEAD", path, 200)
            return answer.headers["Docker-Content-Digest"]
        finally:
            connection.close()

    def _blob(self, folder: str, digest: str, size: int | None) -> bytes:
        """Get content and check it; return a small one."""
        for _ in range(self._insists):
            try:
                return self._checked(folder + digest, digest, size)
            except _CutShort:
                self.begun_anew += 1
        try:
            return self._checked(folder + digest, digest, size)
        except _CutShort as error:
            raise PullError(str(error)) from error

    def _checked(self, path: str, digest: str, size: int | None) -> bytes:
        body = self._get(path, "")
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest or size not in (None, len(body)):
            raise PullError(f"{self.agent.name} gave {len(body)} wrong bytes for {digest}")
        return body

    def _get(self, path: str, wanted: str) -> bytes:
        connection = self._connect()
        try:
            connection.request("GET", f"{path}?ns=docker.io", headers={"Range": wanted} if wanted else {})
            answer = connection.getresponse()
            self._expect(answer, "GET", path, 206 if wanted else 200)
            return answer.read()
        except http.client.IncompleteRead as error:
            raise _CutShort(f"{self.agent.name} ended {path} early: {error}") from error
        except OSError as error:
            raise PullError(f"{self.agent.name} failed {path}: {error!r}") from error
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.agent.address, timeout=_SILENCE_S)

    def _expect(self, answer: http.client.HTTPResponse, method: str, path: str, status: int) -> None:
        if answer.status != status:
            raise PullError(f"{self.agent.name} answered {answer.status} to {method} {path}: {answer.read()[:300]!r}")


def pulled(agent: Agent, image: str) -> bool:
    """Try to pull `repository:tag` of docker.io through an agent; tell whether that went well."""
    try:
        Client(agent).pull(image)
    except PullError:
        return False
    return True


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Call all at the same moment, each in a thread; return what they return, or raise what the first of them does."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]
