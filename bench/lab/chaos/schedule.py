"""What happens to whom and when: a list that follows from the seed alone.

Faults are drawn in lanes: what happens to the process of a node, to its link, to its files, to its clock, and so on.
In one lane one fault follows the other. Lanes know nothing of each other, so a node that is cut off may be killed too.
"""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

UPSTREAM: Final = "upstream"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Args:
        lane: who it happens to, and what of it: `node1/process`.
        number: of the fault in its lane.
        at_s: when it begins, seconds after the start.
        kind: a key of one of the tables below.
        seconds: how long it lasts; 0: it happens and is over.
        chance: seed of what is chosen when it happens, such as one of the files that are there then.
    """

    lane: str
    number: int
    at_s: float
    kind: str
    seconds: float
    chance: int

    @property
    def target(self) -> str:
        """Whom it happens to."""
        return self.lane.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Lane:
    """How often which faults happen.

    Args:
        pause_s: time from the end of one to the next, on average, s.
        kinds: the weight of each, and its shortest and longest duration, s.
    """

    pause_s: float
    kinds: Mapping[str, tuple[int, float, float]]


PROCESS: Final = Lane(
    20,
    {
        "kill": (2, 0.5, 5),
        "kill and damage": (3, 0.5, 5),
        "kill and empty": (2, 0, 1),
        "stop": (4, 0.5, 9),
        "restart": (2, 0, 1),
        "lie about bytes": (3, 6, 20),
        "lie about sizes": (1, 6, 15),
        "lie about manifests": (1, 6, 15),
        "lie about tags": (2, 6, 20),
    },
)
LINK: Final = Lane(25, {"cut": (3, 1, 12), "loss": (2, 4, 12), "delay": (2, 4, 12)})
FILES: Final = Lane(3, {"flip": (5, 0, 0), "truncate": (2, 0, 0), "empty": (1, 0, 0), "delete": (2, 0, 0)})
DISK: Final = Lane(20, {"fill": (1, 4, 12)})
CLOCK: Final = Lane(15, {"clock": (1, 3, 15)})
CONTAINERD: Final = Lane(15, {"kill containerd": (1, 0.5, 3), "damage containerd": (2, 0, 0)})
REGISTRY: Final = Lane(
    20,
    {
        "kill upstream": (3, 0, 8),
        "cut upstream": (1, 1, 8),
        "stop upstream": (1, 1, 8),
    },
)
ANSWERS: Final = Lane(12, {"limit": (1, 2, 6), "drop": (1, 2, 6), "wrong byte": (2, 0, 0)})
TAGS: Final = Lane(7, {"move tag": (1, 0, 0)})

KINDS: Final = sorted(
    kind for lane in (PROCESS, LINK, FILES, DISK, CLOCK, CONTAINERD, REGISTRY, ANSWERS, TAGS) for kind in lane.kinds
)
"""All kinds of faults."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a node is made of, and so what can happen to it.

    Args:
        tight: whether its cache is small, on a small disk.
        bare: whether it keeps nothing, so that all passes through its agent's memory.
        containerd: whether it has a containerd.
        clock: whether its agent's clock can be moved.
    """

    tight: bool
    bare: bool
    containerd: bool
    clock: bool


def lanes_of(nodes: Mapping[str, Traits]) -> Mapping[str, Lane]:
    """All lanes, by name."""
    lanes = {f"{UPSTREAM}/registry": REGISTRY, f"{UPSTREAM}/answers": ANSWERS, f"{UPSTREAM}/tags": TAGS}
    for name, traits in nodes.items():
        lanes |= {f"{name}/process": PROCESS, f"{name}/link": LINK, f"{name}/files": FILES}
        if traits.tight:
            lanes[f"{name}/disk"] = DISK
        if traits.clock:
            lanes[f"{name}/clock"] = CLOCK
        if traits.containerd:
            lanes[f"{name}/containerd"] = CONTAINERD
    return lanes


def draw(
    seed: int, lanes: Mapping[str, Lane], seconds: float, without: Collection[str] = ()
) -> Mapping[str, Sequence[Fault]]:
    """All faults of a run, by lane; each is over when the run ends.

    Args:
        seed: everything follows from it.
        lanes: by name.
        seconds: how long the run is.
        without: kinds that do not happen; the others happen when they would have.
    """
    return {
        name: [
            fault
            for fault in _faults(name, lane, random.Random(f"{seed}/{name}"), seconds)
            if fault.kind not in without
        ]
        for name, lane in lanes.items()
    }


def _faults(name: str, lane: Lane, chance: random.Random, seconds: float) -> Iterator[Fault]:
    at_s, number = chance.uniform(0, lane.pause_s), 0
    while True:
        kinds = list(lane.kinds)
        kind = chance.choices(kinds, [lane.kinds[each][0] for each in kinds])[0]
        _, shortest, longest = lane.kinds[kind]
        lasts = chance.uniform(shortest, longest)
        if at_s + lasts > seconds:
            return
        yield Fault(name, number, at_s, kind, lasts, chance.getrandbits(64))
        at_s += lasts + chance.expovariate(1 / lane.pause_s)
        number += 1
