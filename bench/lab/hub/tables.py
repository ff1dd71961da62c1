"""The figures of a run as tables, and the goals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from testbed.hub import Counts, Kind

from ...report import Cell, Goal, Report, Table
from .pulls import Round
from .questions import Crowd, Moved, Outage, p50
from .settings import CROWD, CROWD_NODES, FRESH_S, HOWS, LATE_S, PERIODS, SLOWER_MOST, UNKNOWN_MOST_S, Settings

_SAID_SHOWN = 110
LEAST = HOWS[-1]
"""As tags cost a registry least."""

_UNKNOWN = (404, 503)
"""How an image is refused that nobody knows: while upstream is away, nobody knows that it does not exist."""

NEVER_S = FRESH_S + LATE_S
"""Stands for the time of what has not happened: nobody looked for longer, s."""

_KINDS = (Kind.MANIFEST, Kind.HEAD, Kind.BLOB, Kind.TOKEN, Kind.LIMITED)


@dataclass(frozen=True, slots=True)
class Asked:
    """What agents were asked by HTTP alone; of tags by how they take members' word about them."""

    outage: Outage
    moved: Mapping[str, Moved]
    crowd: Mapping[str, Crowd]


def report(
    settings: Settings, rounds: Mapping[str, Sequence[Round]], asked: Asked | None, versions: Mapping[str, str]
) -> Report:
    """All of it; the goals are those of our own agents."""
    tables = [_rounds(settings, rounds)]
    if any(each.errors for mode in rounds.values() for each in mode):
        tables.append(_errors(rounds))
    goals = _pull_goals(settings, rounds["skvaller"]) if "skvaller" in rounds else []
    details: dict[str, Any] = {
        "settings": settings.details(),
        "rounds": {
            mode: [{**asdict(each), "counts": _shown(each.counts)} for each in found] for mode, found in rounds.items()
        },
    }
    if asked is not None:
        tables.append(_asked(asked))
        goals += _asked_goals(settings, asked)
        details |= {
            "outage": asdict(asked.outage),
            "moved": {
                how: {"still": _shown(found.still), "seen_s": found.seen_s} for how, found in asked.moved.items()
            },
            "crowd": {how: {**asdict(found), "counts": _shown(found.counts)} for how, found in asked.crowd.items()},
        }
    return Report("lab hub", tables, goals, details, versions)


def _shown(counts: Counts) -> Mapping[str, int]:
    return {kind.name.lower(): counts[kind] for kind in Kind}


def _rounds(settings: Settings, rounds: Mapping[str, Sequence[Round]]) -> Table:
    title = f"{settings.nodes} nodes behind one address, each pulls {settings.images} images at once; "
    title += f"the hub allows {settings.limit} pulls"
    rows: list[Mapping[str, Cell]] = [
        {
            "mode": mode,
            "what": each.what,
            "pulls": each.pulls,
            "failed": each.failed,
            "seconds": each.seconds,
            **{kind.name: each.counts[kind] for kind in _KINDS},
        }
        for mode, found in rounds.items()
        for each in found
    ]
    figures = {"pulls": ("pulls", ".0f"), "failed": ("failed", ".0f"), "seconds": ("s", ".1f")}
    figures |= {
        Kind.MANIFEST.name: ("manifest GETs", ".0f"),
        Kind.HEAD.name: ("HEADs", ".0f"),
        Kind.BLOB.name: ("blobs", ".0f"),
        Kind.TOKEN.name: ("tokens", ".0f"),
        Kind.LIMITED.name: ("429s", ".0f"),
    }
    return Table.of(title, {"mode": "mode", "what": "what"}, figures, rows)


def _errors(rounds: Mapping[str, Sequence[Round]]) -> Table:
    rows: list[Mapping[str, Cell]] = [
        {"mode": mode, "said": said[-_SAID_SHOWN:].replace("\n", " "), "count": count}
        for mode, found in rounds.items()
        for each in found
        for said, count in sorted(each.errors.items(), key=lambda item: -item[1])[:1]
    ]
    return Table.of(
        "What pulls that failed said, the most frequent in each round",
        {"mode": "mode", "said": "said"},
        {"count": ("times", ".0f")},
        rows,
    )


def _asked(asked: Asked) -> Table:
    outage = asked.outage
    figures = [
        ("known image, tag believed: manifest, p50", "ms", p50(outage.plugged_ms)),
        ("the same, line cut", "ms", p50(outage.unplugged_ms)),
        ("known image, tag to be asked of: manifest, p50", "ms", p50(outage.old_plugged_ms)),
        ("the same, line cut", "ms", p50(outage.old_unplugged_ms)),
        ("line cut: the request that finds it out", "s", outage.first_s),
        ("line cut, known to be: unknown image, slowest", "s", max(outage.unknown_s)),
    ]
    for how, moved in asked.moved.items():
        still = float(moved.still[Kind.HEAD])
        figures += [
            (f"--tags {how}: a tag that does not move, HEADs in {PERIODS} times {FRESH_S} s", "", still),
            ("… it moves: the last node says so after", "s", max(moved.seen_s.values(), default=NEVER_S)),
        ]
    for how, crowd in asked.crowd.items():
        figures += [
            (
                f"--tags {how}: {CROWD} first requests at once on {CROWD_NODES} nodes, HEADs",
                "",
                float(crowd.counts[Kind.HEAD]),
            ),
            ("… manifest GETs", "", float(crowd.counts[Kind.MANIFEST])),
            ("… tokens", "", float(crowd.counts[Kind.TOKEN])),
            ("… slowest answer", "s", crowd.slowest_s),
        ]
    rows: list[Mapping[str, Cell]] = [{"what": what, "unit": unit, "found": found} for what, unit, found in figures]
    return Table.of("Agents, asked by HTTP", {"what": "what", "unit": "unit"}, {"found": ("found", ".2f")}, rows)


def _pull_goals(settings: Settings, rounds: Sequence[Round]) -> list[Goal]:
    limited = sum(each.counts[Kind.LIMITED] for each in rounds)
    gets = sum(each.counts[Kind.MANIFEST] for each in rounds)
    return [
        Goal("pulls that failed", 0, sum(each.failed for each in rounds), most=True),
        Goal("manifest GETs that upstream counts, all rounds", settings.images, gets, most=True),
        Goal("answers 429, all rounds", 1, limited, most=True),
    ]


def _asked_goals(settings: Settings, asked: Asked) -> list[Goal]:
    outage = asked.outage
    slower = p50(outage.unplugged_ms) / p50(outage.plugged_ms)
    old_slower = p50(outage.old_unplugged_ms) / p50(outage.old_plugged_ms)
    odd = sum(status not in _UNKNOWN for status in outage.unknown_statuses)
    goals = [
        Goal("answers but 200 to known images, line cut or not", 0, outage.errors, most=True),
        Goal("line cut: times as long for a known image's manifest", SLOWER_MOST, slower, most=True),
        Goal("the same, where the tag is to be asked of", SLOWER_MOST, old_slower, most=True),
        Goal("line cut: s until an unknown image is refused", UNKNOWN_MOST_S, max(outage.unknown_s), most=True),
        Goal("… answers to that but 404 and 503", 0, odd, most=True),
    ]
    for how, moved in asked.moved.items():
        seen_s = max(moved.seen_s.values()) if len(moved.seen_s) == settings.nodes else NEVER_S
        goals.append(Goal(f"{how}: s until all nodes see a tag that has moved", FRESH_S + 1, seen_s, most=True))
    still = asked.moved[LEAST].still
    what = f"{LEAST}: HEADs for a tag in {PERIODS} of its times, all nodes"
    goals.append(Goal(what, PERIODS + 1, still[Kind.HEAD], most=True))
    for how, crowd in asked.crowd.items():
        goals += [
            Goal(f"{how}: a crowd, manifest GETs", 1, crowd.counts[Kind.MANIFEST], most=True),
            Goal(f"{how}: a crowd, answers but 200", 0, sum(status != 200 for status in crowd.statuses), most=True),
        ]
    counts = asked.crowd[LEAST].counts
    goals += [Goal(f"{LEAST}: a crowd, {kind}", 1, counts[kind], most=True) for kind in (Kind.HEAD, Kind.TOKEN)]
    return goals
