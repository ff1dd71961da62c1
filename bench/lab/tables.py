"""The figures of all runs as tables, and the goals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ..report import MIB, OURS, Cell, Goal, Report, Samples, Table
from .results import Found
from .scenarios import SCENARIOS
from .settings import Settings
from .turns import AT_LEAST

_TIMES: Final = {
    "first_s": ("first client s", ".1f"),
    "median_s": ("median s", ".1f"),
    "last_s": ("last s", ".1f"),
    "all_s": ("all batches s", ".1f"),
    "late_ratio": ("R, late ones", ".2f"),
    "apart_s": ("the slow one s", ".1f"),
    "after_fault_s": ("fault to last s", ".1f"),
    "ratio": ("R", ".2f"),
}
_FAULT: Final = {
    "dark_s": ("dark s", ".0f"),
    "dark_share_least": ("had then: least", ".2f"),
    "dark_share_most": ("most, in images", ".2f"),
    "healed_s": ("all see all again after s", ".2f"),
    "kills": ("killed and started again, times", ".0f"),
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
_CONTROL: Final = {
    "measured_s": ("measured s", ".1f"),
    "control_sent_bytes_median": ("sent bytes", ",.0f"),
    "control_sent_bytes_most": ("most", ",.0f"),
    "control_sent_packets_median": ("sent packets", ",.0f"),
    "control_sent_packets_most": ("most", ",.0f"),
    "control_received_bytes_median": ("received bytes", ",.0f"),
    "control_received_packets_median": ("received packets", ",.0f"),
    "control_sent_bytes_per_s": ("sent B/s", ",.0f"),
}
_JOINING: Final = {
    "ready_alone_s": ("first is ready s", ".2f"),
    "join_s": ("second finds its content s", ".2f"),
    "others_find_s": ("all others: find it s", ".2f"),
    "together_s": ("see all s", ".2f"),
}
_PRESENT: Final = {
    "found_p50_ms": ("p50 ms", ".1f"),
    "found_p99_ms": ("p99 ms", ".1f"),
    "found_max_ms": ("most ms", ".1f"),
    "found_within_10_ms_percent": ("within 10 ms %", ".0f"),
    "found_within_20_ms_percent": ("20 ms %", ".0f"),
    "found_within_100_ms_percent": ("100 ms %", ".0f"),
    "found_never": ("never", ".0f"),
    "find_p50_ms": ("a look: p50 ms", ".1f"),
    "find_p99_ms": ("p99 ms", ".1f"),
}
_HITS: Final = {
    "hit_p50_ms": ("hit: p50 ms", ".1f"),
    "hit_p99_ms": ("p99 ms", ".1f"),
    "hit_wrong": ("wrong", ".0f"),
    "miss_p50_ms": ("miss: p50 ms", ".1f"),
    "miss_p99_ms": ("p99 ms", ".1f"),
    "miss_wrong": ("wrong", ".0f"),
}
_MISSES: Final = {
    "miss_without_upstream_p50_ms": ("miss without upstream: p50 ms", ".1f"),
    "miss_without_upstream_p99_ms": ("p99 ms", ".1f"),
}
_DEATHS: Final = {
    f"{figure}_{how}_s": (f"{how}: {heading}", ".2f")
    for how in ("kill", "vanish")
    for figure, heading in (("offered", "offered s"), ("pull_after", "pull s"))
}
_BACK: Final = {
    "restart_found_s": ("restarted: found after s", ".2f"),
    "return_found_s": ("host back: found after s", ".2f"),
}
_IDLE: Final = {
    "idle_sent_bytes_per_s": ("sent B/s", ",.0f"),
    "idle_sent_packets_per_s": ("packets/s", ".1f"),
    "idle_received_bytes_per_s": ("received B/s", ",.0f"),
    "idle_received_packets_per_s": ("packets/s", ".1f"),
    "idle_cpu_percent": ("CPU % of a core", ".2f"),
    "idle_rss_mib": ("RSS MiB", ".0f"),
    "idle_pss_mib": ("PSS MiB", ".0f"),
}
_KEYED: Final = {
    "keys_held": ("keys of a node", ",.0f"),
    **{f"keys_{name}": column for name, column in _IDLE.items()},
}
_SERVERS: Final = {
    "cpu_s": ("CPU s, all", ".2f"),
    "cpu_s_per_gib": ("CPU s/GiB", ".2f"),
    "containerds_cpu_s": ("containerds' CPU s", ".2f"),
    "peak_mib": ("peak RSS MiB", ".0f"),
}
_TROUBLE: Final = {
    "client_errors": ("client errors", ".0f"),
    "suspicions": ("suspicions", ".0f"),
    "lag_ms": ("loop lag p99 ms", ".1f"),
    "begun_again": ("begun again", ".0f"),
}
_RATIOS: Final = {"lonely": 1.3, "slow": 1.4, "kill": 1.3, "vanish": 1.5}
_PULL_AFTER_DEATH_S: Final = 0.8
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
    name = settings.image_name or f"{settings.image / MIB:.0f} MiB"
    image = f"an image of {name} in {settings.layers} layers; " if scenario.pulls else ""
    links = f"links {_rate(settings.link)}, upstream's {_rate(settings.upstream)}"
    loss = f", {settings.loss:g} % of all packets lost" if settings.loss else ""
    network = f"{links}, {settings.congestion}{loss}"
    title = f"{scenario.name}: {settings.nodes} nodes, {scenario.what}; {image}{network}; client: {settings.client}"
    runs = f"{settings.repeats} runs" if settings.repeats > 1 else "one run"
    made = [_table(what, columns, found) for what, columns in _shown(settings)]
    tables = [table for table in made if len(table.columns) > 1]
    if tables:
        tables[0] = replace(tables[0], title=f"{title}; {runs}\n{tables[0].title}")
    errors = [
        {"mode": run.mode, "run": f"{run.repeat + 1}", "node": name, "error": error}
        for run in found
        for name, pull in run.pulls.items()
        for error in pull.errors
    ]
    if errors:
        headings = {"mode": "mode", "run": "run", "node": "node", "error": "what its client said"}
        tables.append(Table("Clients that failed, those that do not count too", headings, {}, errors[:_ERRORS_SHOWN]))
    details = {"settings": settings.details(), "runs": [run.details() for run in found]}
    return Report(f"lab {settings.scenario}", tables, _goals(found, settings), details, versions)


def _shown(settings: Settings) -> Sequence[tuple[str, Mapping[str, tuple[str, str]]]]:
    """All tables: titles, and columns by figure. Those for which there are no figures are left out."""
    ratio = "all batches over as many ideal ones" if settings.scenario == "rolling" else "last over ideal"
    return (
        (f"Times, each client's from its own start; ideal: {settings.ideal_s:.2f} s; R: {ratio}", _TIMES),
        ("The fault", _FAULT),
        ("Starting, one node after the other", _JOINING),
        ("From when a node has some content to when each of the others finds it there", _PRESENT),
        ("A client asks its mirror for the head of what another node holds, and of what nobody has", _HITS),
        ("The same for what nobody has, when upstream refuses connections", _MISSES),
        ("The only holder is killed, or its host vanishes: offered on for; a pull 0.3 s later takes", _DEATHS),
        ("It comes back: all others find its content", _BACK),
        ("A node at rest, medians of all nodes", _IDLE),
        (f"The same when each has pulled {settings.keys} layers of its own", _KEYED),
        ("Upstream: bytes in images, by its access log (U), and with headers by its interface", _UPSTREAM),
        ("Bytes in and out of a node's interface, in images; the machine's cores at work", _NODES),
        ("Control traffic of a node, on the port of gossip or of the DHT; median and most of all nodes", _CONTROL),
        ("What the clients ask (agents, Spegels, or the cache), on all hosts; and containerds apart from it", _SERVERS),
        (
            "What went wrong: clients' errors, suspicions of healthy members, and agents whose event loop was late",
            _TROUBLE,
        ),
    )


def _table(title: str, columns: Mapping[str, tuple[str, str]], found: Sequence[Found]) -> Table:
    """One row per mode; columns that nobody has a figure for are left out."""
    shown = {key: column for key, column in columns.items() if any(key in run.figures for run in found)}
    rows = [
        {"mode": mode, **{key: _cell(found, mode, key, spec) for key, (_, spec) in shown.items()}}
        for mode in dict.fromkeys(run.mode for run in found)
    ]
    return Table.of(title, {"mode": "mode"}, shown, rows)


def _cell(found: Sequence[Found], mode: str, key: str, spec: str) -> Cell:
    """Samples; where in some run the end was not seen, the most as a text."""
    samples = _samples(found, mode, key)
    if not samples.values:
        return None
    if _samples(found, mode, key + AT_LEAST).values:
        return f"> {max(samples.values):{spec}}"
    return samples


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
    if (samples := _samples(found, OURS, "pull_after_vanish_s")).values:
        what = "a pull 0.3 s after the only holder's host has vanished, s"
        goals.append(Goal(what, _PULL_AFTER_DEATH_S, samples.median, most=True))
    for what, key in (("client errors", "client_errors"), ("suspicions of healthy members", "suspicions")):
        if (samples := _samples(found, OURS, key)).values:
            goals.append(Goal(f"{what}, all runs", 0, sum(samples.values), most=True))
    return goals


def _rate(bits: int) -> str:
    return f"{bits / 1e6:g} Mbit/s"
