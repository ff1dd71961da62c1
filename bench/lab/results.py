"""The results of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .clients import Pull


@dataclass(frozen=True, slots=True)
class Sample:
    """How much had come by when: bytes for each node, by the kind of source.

    Args:
        at: seconds since the sampler's start.
        received: by source, one number per node; of pull-through's upstream, one for all, by the number of nodes.
    """

    at: float
    received: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Found:
    """The results of one run.

    Args:
        mode: who was asked.
        repeat: which time, from 0 on.
        figures: by name; those that make no sense in a mode or scenario are missing.
        pulls: of all clients, by host.
        samples: how much had come by when.
        times_ms: all times behind some figures, milliseconds, by name.
    """

    mode: str
    repeat: int
    figures: Mapping[str, float]
    pulls: Mapping[str, Pull]
    samples: Sequence[Sample]
    times_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def details(self) -> Mapping[str, Any]:
        """For the JSON."""
        return {
            "mode": self.mode,
            "repeat": self.repeat,
            "figures": self.figures,
            "pulls": {name: {**asdict(pull), "seconds": pull.seconds} for name, pull in self.pulls.items()},
            "samples": [asdict(sample) for sample in self.samples],
            "times_ms": self.times_ms,
        }
