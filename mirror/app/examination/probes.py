"""Probes: images that nobody has, which a runtime is told to pull to see whether it asks this agent.

A probe is announced with a name that nobody can guess. The agent answers a request for it at once, asks nobody, and
remembers that it came. Its answers end a pull in every runtime without a question to the registry, and leave nothing
in any:

- HEAD, which containerd, BuildKit and Docker send first, is answered 300 without a place. containerd and BuildKit give
  up at once (an error of the server would have them ask the registry); Docker goes on with GET.
- GET is answered with an artifact of a type that no runtime runs. podman, CRI-O and Docker read it and give up.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ...doctor.facts import Sighting
from ...errors import OciError
from ...oci.manifest import OCI_MANIFEST
from ...oci.reference import Repository
from ...settings import DoctorSettings
from ..request import RegistryRequest, header_of, named_registry, parse
from ..responses import send_empty

NAMESPACE: Final = "skvaller-doctor"
"""First part of the names of probes. The rest is a number that is drawn anew for each."""
TAG: Final = "probe"
_NUMBER_BYTES: Final = 12
_EMPTY: Final = hashlib.sha256(b"{}").hexdigest()
_MANIFEST: Final = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.skvaller.probe.v1+json", "digest": f"sha256:{_EMPTY}", "size": 2},
        "layers": [],
    }
).encode()
_DIGEST: Final = f"sha256:{hashlib.sha256(_MANIFEST).hexdigest()}"
_TEXT_MAX: Final = 200
"""Bounds what is remembered of what a client says, in characters."""


@dataclass(slots=True)
class _Probe:
    announced_at: float
    sightings: list[Sighting] = field(default_factory=list)


class Probes:
    """The probes that were announced, and what came of them.

    Args:
        settings: bounds.
        clock: gives monotonic time, s.
    """

    def __init__(self, settings: DoctorSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._probes: dict[str, _Probe] = {}

    def announce(self) -> str:
        """The name of a new probe, without registry and tag; recognised for `DoctorSettings.probe_s`."""
        self._forget_old()
        while len(self._probes) >= self._settings.probes_max:
            del self._probes[next(iter(self._probes))]
        name = f"{NAMESPACE}/{secrets.token_hex(_NUMBER_BYTES)}"
        self._probes[name] = _Probe(self._clock())
        return name

    def sightings(self, name: str) -> list[Sighting] | None:
        """The requests for a probe that came; None if it is not known, or no longer."""
        self._forget_old()
        probe = self._probes.get(name)
        return None if probe is None else list(probe.sightings)

    def endpoint(self, app: ASGIApp, registry: str | None = None) -> ASGIApp:
        """An application that answers requests for probes, and has another one answer all others.

        Args:
            app: the other one.
            registry: of requests that name none.
        """

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            request = self._request(scope, registry) if self._probes else None
            if request is None or not self._see(scope, request.repository):
                await app(scope, receive, send)
            elif request.is_head:
                await send_empty(send, 300, [(b"content-length", b"0")])
            elif request.kind == "manifests":
                await _send_artifact(send)
            else:
                await send_empty(send, 404, [(b"content-length", b"0")])

        return answered

    @staticmethod
    def _request(scope: Scope, registry: str | None) -> RegistryRequest | None:
        if scope["type"] != "http" or NAMESPACE not in scope["path"]:
            return None
        try:
            request = parse(scope, registry)
        except OciError:
            return None
        return request if isinstance(request, RegistryRequest) else None

    def _see(self, scope: Scope, repository: Repository) -> bool:
        """Take note of a request, if it is for a probe."""
        self._forget_old()
        probe = self._probes.get(repository.path)
        if probe is None:
            return False
        if len(probe.sightings) < self._settings.sightings_max:
            probe.sightings.append(self._sighting(scope, repository, self._clock() - probe.announced_at))
        return True

    @staticmethod
    def _sighting(scope: Scope, repository: Repository, after_s: float) -> Sighting:
        client: Any = scope.get("client")
        is_in_path = scope["path"].startswith(f"/v2/{repository.registry}/")
        return Sighting(
            scope["method"],
            client[0] if client else "",
            (header_of(scope, b"user-agent") or "")[:_TEXT_MAX],
            repository.registry if is_in_path or named_registry(scope) is not None else "",
            after_s,
        )

    def _forget_old(self) -> None:
        oldest = self._clock() - self._settings.probe_s
        self._probes = {name: probe for name, probe in self._probes.items() if probe.announced_at > oldest}


async def _send_artifact(send: Send) -> None:
    headers = [
        (b"content-type", OCI_MANIFEST.encode()),
        (b"content-length", str(len(_MANIFEST)).encode()),
        (b"docker-content-digest", _DIGEST.encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _MANIFEST})
