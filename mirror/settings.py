"""Settings of the mirror that no operator has to touch: timings, bounds, windows.

One frozen value, built by the agent and handed to the parts, a section for each package. Each field says what it
bounds, its unit, and why it has this value. Tests pass their own. What operators set is in `config`.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Of `sources.peers`."""


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Of `sources.upstream`."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Of `stores.cache`."""


@dataclass(frozen=True, slots=True)
class ContainerdSettings:
    """Of `stores.containerd`."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Of `cluster`."""


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Of `fetch.spool`."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Of `fetch.plan`."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Of `fetch`."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Of `images`."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """Of `app`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them."""

    peers: PeerSettings = field(default_factory=PeerSettings)
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    containerd: ContainerdSettings = field(default_factory=ContainerdSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    plan: PlanSettings = field(default_factory=PlanSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    app: AppSettings = field(default_factory=AppSettings)
