"""The figures of all runs as tables, and the goals."""

from collections.abc import Mapping, Sequence
from typing import Final

from testbed.network import congestion_control

from ..report import MIB, OURS, Cell, Goal, Report, Samples, Table
from .results import Found
from .scenarios import SCENARIOS
from .settings import Settings

_TIMES: Final = {
    "first_s": ("first client s", ".1f"),
    "median_s": ("median s", ".1f"),
    "last_s": ("last s", ".1f"),
    "all_s": ("all batches s", ".1f"),
    "late_ratio": ("R, late ones", ".2f"),
    "apart_s": ("the slow one s", ".1f"),
    "ratio": ("R", ".2f"),
}
_UPSTREAM: Final = {
    "upstream": ("U", ".3f"),
    "upstream_wire": ("on its link", ".3f"),
    "manifest_gets": ("manifest GETs", ".0f"),
    "blob_gets": ("blob GETs", ".0f"),
    "heads": ("HEADs", ".0f"),
}
_NODES: Final = {
    "received_median": ("in, median", ".2f"),
    "received_most": ("in, most", ".2f"),
    "sent_median": ("out, median", ".2f"),
    "sent_most": ("out, most", ".2f"),
    "cores_busy": ("cores busy", ".2f"),
}
_SERVERS: Final = {
    "cpu_s": ("CPU s, all", ".2f"),
    "cpu_s_per_gib": ("CPU s/GiB", ".2f"),
    "containerds_cpu_s": ("containerds' CPU s", ".2f"),
    "peak_mib": ("peak RSS MiB", ".0f"),
    "client_errors": ("client errors", ".0f"),
    "suspicions": ("suspicions", ".0f"),
    "lag_ms": ("loop lag p99 ms", ".1f"),
}
_RATIOS: Final = {"lonely": 1.3, "slow": 1.4, "kill": 1.3}
_SHARES: Final = {"fanout": 1.02, "rolling": 1.02, "late": 1.02, "slow": 1.1, "kill": 1.1}
_ONE_MANIFEST: Final = ("fanout", "rolling", "late", "slow")
_AT_ONCE: Final = 1.15
_AT_ONCE_THIN: Final = 1.05
_THIN: Final = 4
_LAG_MOST_MS: Final = 20
_ERRORS_SHOWN: Final = 20


def report(found: Sequence[Found], settings: Settings, versions: Mapping[str, str]) -> Report:
    """All of it.

    Args:
        found: in all runs.
        settings: of them.
        versions: of the programs that its options name.
    """
    scenario = SCENARIOS[settings.scenario]
    image = f"an image of {settings.image / MIB:.0f} MiB in {settings.layers} layers"
    links = f"links {_rate(settings.link)}, upstream's {_rate(settings.upstream)}"
    title = f"{settings.scenario}: {settings.nodes} nodes, {scenario.what}; {image}; {links}; client: {settings.client}"
    runs = f"{settings.repeats} runs" if settings.repeats > 1 else "one run"
    ratio = "all batches over as many ideal ones" if settings.scenario == "rolling" else "last over ideal"
    times = f"Times, each client's from its own start; ideal: {settings.ideal_s:.2f} s; R: {ratio}"
    tables = [
        _table(f"{title}; {runs}\n{times}", _TIMES, found),
        _table("Upstream: bytes in images, by its access log (U), and with headers by its interface", _UPSTREAM, found),
        _table("Bytes in and out of a node's interface, in images; the machine's cores at work", _NODES, found),
        _table("What the clients ask: agents, Spegels, or the cache; suspicions of healthy members", _SERVERS, found),
    ]
    errors = [
        {"mode": run.mode, "run": f"{run.repeat + 1}", "node": name, "error": error}
        for run in found
        for name, pull in run.pulls.items()
        for error in pull.errors
    ]
    if errors:
        headings = {"mode": "mode", "run": "run", "node": "node", "error": "what its client said"}
        tables.append(Table("Clients that failed, those that do not count too", headings, {}, errors[:_ERRORS_SHOWN]))
    details = {
        "settings": settings.details(),
        "congestion_control": congestion_control(),
        "runs": [run.details() for run in found],
    }
    return Report(f"lab {settings.scenario}", tables, _goals(found, settings), details, versions)


def _table(title: str, columns: Mapping[str, tuple[str, str]], found: Sequence[Found]) -> Table:
    """One row per mode; columns that nobody has a figure for are left out."""
    shown = {key: column for key, column in columns.items() if any(key in run.figures for run in found)}
    rows: list[dict[str, Cell]] = []
    for mode in dict.fromkeys(run.mode for run in found):
        cells = {key: _samples(found, mode, key) for key in shown}
        rows.append({"mode": mode, **{key: cell if cell.values else None for key, cell in cells.items()}})
    return Table.of(title, {"mode": "mode"}, shown, rows)


def _samples(found: Sequence[Found], mode: str, key: str) -> Samples:
    runs = sorted((run for run in found if run.mode == mode), key=lambda run: run.repeat)
    return Samples([run.figures[key] for run in runs if key in run.figures])


def _goals(found: Sequence[Found], settings: Settings) -> list[Goal]:
    """The goals of the agents: for medians, but no error and no suspicion in any run."""
    name = settings.scenario
    ratio = _RATIOS.get(name)
    if name == "fanout":
        ratio = _AT_ONCE_THIN if settings.upstream * _THIN <= settings.link else _AT_ONCE
    wanted = [
        ("U, upstream's bytes in images", "upstream", _SHARES.get(name)),
        ("R, the last client's time in ideal times", "ratio", ratio),
        ("GETs of the manifest from upstream", "manifest_gets", 1 if name in _ONE_MANIFEST else None),
        ("p99 of an agent's loop lag in the last minute, ms", "lag_ms", _LAG_MOST_MS),
    ]
    goals = [
        Goal(what, limit, samples.median, most=True)
        for what, key, limit in wanted
        if limit is not None and (samples := _samples(found, OURS, key)).values
    ]
    for what, key in (("client errors", "client_errors"), ("suspicions of healthy members", "suspicions")):
        if (samples := _samples(found, OURS, key)).values:
            goals.append(Goal(f"{what}, all runs", 0, sum(samples.values), most=True))
    return goals


def _rate(bits: int) -> str:
    return f"{bits / 1e6:g} Mbit/s"
