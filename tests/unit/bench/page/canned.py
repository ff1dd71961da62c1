"""Results for tests: made by the classes that make those of real runs, with figures that follow from a seed."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.lab import tables
from bench.lab.clients import Pull
from bench.lab.results import Found, Sample
from bench.lab.settings import Settings
from bench.report import MIB, Comparison, Report

TYPICAL: Mapping[str, Mapping[str, float]] = {
    "skvaller": {"ratio": 1.2, "upstream": 1.0, "cpu_s_per_gib": 14, "peak_mib": 95},
    "exact": {"ratio": 1.2, "upstream": 1.0, "cpu_s_per_gib": 14, "peak_mib": 95},
    "dht": {"ratio": 5.1, "upstream": 5.0, "cpu_s_per_gib": 9, "peak_mib": 120},
    "spegel": {"ratio": 5.0, "upstream": 5.0, "cpu_s_per_gib": 3, "peak_mib": 40},
    "direct": {"ratio": 5.0, "upstream": 5.0},
    "pullthrough": {"ratio": 5.9, "upstream": 1.0, "cpu_s_per_gib": 2, "peak_mib": 30},
    "unshared": {"ratio": 1.05, "upstream": 5.0},
}
"""Something like the medians of five nodes that pull at once."""


def settings(scenario: str = "fanout", nodes: int = 5, modes: Sequence[str] = tuple(TYPICAL)) -> Settings:
    return Settings(
        scenario=scenario,
        modes=modes,
        nodes=nodes,
        image=10 * MIB,
        layers=4,
        link=50_000_000,
        upstream=50_000_000,
        repeats=3,
        client="http",
        parallel=3,
        settle=0.0,
        folder=None,
        keep_logs=None,
        image_name="10MB-4",
    )


def lab(wanted: Settings, typical: Mapping[str, Mapping[str, float]] = TYPICAL, seed: int = 1) -> Report:
    """What the lab reports of runs that spread by 2 % around something typical."""
    chance = random.Random(seed)
    pulls = {f"node{number + 1}": Pull(0.0, 3.0, wanted.image, []) for number in range(wanted.nodes)}
    found = [
        Found(
            mode,
            repeat,
            {key: value * chance.uniform(0.98, 1.02) for key, value in typical[mode].items()},
            pulls,
            [Sample(0.0, {"upstream": [0.0] * wanted.nodes})],
        )
        for repeat in range(wanted.repeats)
        for mode in wanted.modes
    ]
    return tables.report(found, wanted, {})


def serve(seed: int = 1) -> Report:
    """What the bench of serving reports."""
    chance = random.Random(seed)
    blobs = Comparison()
    for _ in range(3):
        for server, rate in (("skvaller", 1900.0), ("nginx", 2000.0), ("docker-registry", 700.0)):
            blobs.add("1 client", server, rate * chance.uniform(0.98, 1.02), 0.3)
    return Report("serve", [blobs.table("A cached blob", ("MB/s", ".0f"), ("CPU s/GiB", ".2f"))], [])


def folder(place: Path, seed: int = 1) -> Path:
    """A folder of results."""
    place.mkdir(parents=True, exist_ok=True)
    lab(settings(), seed=seed).write(place / "fanout-5.json")
    lab(settings(nodes=2), seed=seed).write(place / "fanout-2.json")
    lab(settings("kill"), seed=seed).write(place / "kill-5.json")
    serve(seed).write(place / "serve.json")
    return place
