"""Results of clusters of several sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..report import Samples
from .crowd import Traffic, Verdicts


@dataclass(frozen=True, slots=True)
class Spread:
    """How long it took others to see keys, s: a list for each key."""

    delays: Sequence[Sequence[float]]

    @property
    def everywhere(self) -> Samples:
        """For each key, until all had it."""
        return Samples([max(times) for times in self.delays])

    def quantile(self, share: float) -> float:
        """The time within which that share of all others had a key."""
        return quantile([at for times in self.delays for at in times], share)


@dataclass(frozen=True, slots=True)
class Modelled:
    """What the model says of one size; times in s."""

    size: int
    keys: Spread
    missed: int
    killed: dict[str, Samples]


@dataclass(frozen=True, slots=True)
class Calm:
    """Results while nothing worse happened than single nodes killed; times in s, rates per node and second."""

    idle: Traffic
    cpu_share: float
    node_bytes: int
    keys: Spread
    lossy: Spread
    joined: Samples
    wave: Traffic
    wave_cpu_share: float
    killed: Samples


@dataclass(frozen=True, slots=True)
class Grown:
    """Results with real nodes at one size."""

    size: int
    calm: Calm
    verdicts: Verdicts
    killed_fast: Samples

    @property
    def keys(self) -> Spread:
        """How keys spread."""
        return self.calm.keys

    @property
    def killed(self) -> dict[str, Samples]:
        """How long it took to find killed nodes dead, by preset."""
        return {"lan": self.calm.killed, "fast": self.killed_fast}


@dataclass(frozen=True, slots=True)
class Extrapolated:
    """The extrapolated costs of a node, for a cluster that was not simulated as a whole."""

    size: int
    node_bytes: float
    idle_bytes: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class Found:
    """All of it."""

    grown: list[Grown]
    modelled: list[Modelled]
    extrapolated: list[Extrapolated]
    arithmetic: str


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
