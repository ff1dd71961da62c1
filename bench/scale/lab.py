"""The fluid model beside the lab: the same nodes, links and image, and how far apart their figures are."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..report import BenchError, Samples
from .pulls import DHT, HOMES, KINDS, Pulled, pulled
from .world import World

WAVES_OF: Final = {"fanout": "at once", "rolling": "rolling"}
"""The model's wave of a scenario of the lab; others have failures, which the model leaves out."""

KINDS_OF: Final = {"skvaller": HOMES, "exact": HOMES, "dht": DHT, "spegel": DHT, "direct": DHT}
"""How nodes pull in a mode of the lab. Without mirrors, all take everything from upstream; so it is if nobody has
announced anything, as when all pull at once."""

_PAYLOAD: Final = 1448 / 1514
"""Bytes that a full Ethernet frame carries for TCP with timestamps, by its own: what remains of a link for layers."""

_SEEDS: Final = 20
"""Digests of which the model is computed: the lab's image is a random one in each run."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One mode of one run of the lab, and the model of it.

    Args:
        scenario: of the lab.
        mode: whom the clients asked.
        nodes: how many.
        image: bytes.
        layers: how many.
        lab_ratio: R in the lab, of each run.
        model_ratio: R of the model, for some digests.
        lab_upstream: U in the lab.
        model_upstream: U of the model.
    """

    scenario: str
    mode: str
    nodes: int
    image: int
    layers: int
    lab_ratio: Samples
    model_ratio: Samples
    lab_upstream: Samples
    model_upstream: Samples

    @property
    def apart(self) -> float:
        """How much larger R is in the lab, as a share."""
        return self.lab_ratio.median / self.model_ratio.median - 1


def check(files: Sequence[Path]) -> list[Checked]:
    """Compute what runs of the lab measured.

    Args:
        files: that `python -m bench lab SCENARIO --json FILE` wrote.

    Raises:
        BenchError: one of them is no such file.
    """
    found = []
    for file in files:
        try:
            content = json.loads(file.read_text())
            settings, runs = content["settings"], content["runs"]
            wave = WAVES_OF.get(settings["scenario"])
            modes = dict.fromkeys(run["mode"] for run in runs) if wave is not None else ()
            found += [_checked(settings, mode, runs, str(wave)) for mode in modes if mode in KINDS_OF]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{file} is no JSON that `bench lab` wrote: {error!r}") from None
    return found


def _checked(settings: Mapping[str, Any], mode: str, runs: Sequence[Mapping[str, Any]], wave: str) -> Checked:
    figures = [run["figures"] for run in runs if run["mode"] == mode]
    modelled = [_model(settings, mode, wave, seed) for seed in range(1, _SEEDS + 1)]
    return Checked(
        scenario=settings["scenario"],
        mode=mode,
        nodes=settings["nodes"],
        image=settings["image"],
        layers=settings["layers"],
        lab_ratio=Samples([it["ratio"] for it in figures]),
        model_ratio=Samples([it.ratio for it in modelled]),
        lab_upstream=Samples([it["upstream"] for it in figures]),
        model_upstream=Samples([it.upstream for it in modelled]),
    )


def _model(settings: Mapping[str, Any], mode: str, wave: str, seed: int) -> Pulled:
    layers = settings["layers"]
    world = World(
        nodes=settings["nodes"],
        link=settings["link"] / 8 * _PAYLOAD,
        upstream=settings["upstream"] / 8 * _PAYLOAD,
        layers=(settings["image"] // layers,) * layers,
        parallel=settings["parallel"],
        seed=seed,
    )
    return pulled(world, KINDS[KINDS_OF[mode]](world, wave))


def apart(checked: Sequence[Checked]) -> str:
    """How far model and lab are apart, in a sentence."""
    shares = [abs(it.apart) for it in checked]
    images = max(abs(it.lab_upstream.median - it.model_upstream.median) for it in checked)
    return (
        f"R of the lab is {100 * statistics.median(shares):.0f} % from that of the model in the median of "
        f"{len(checked)} comparisons, and {100 * max(shares):.0f} % at most; U is {images:.2f} images from it at most."
    )
