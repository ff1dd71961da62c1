"""The figures of a run as tables, and the goals."""

from collections.abc import Mapping, Sequence

from ...report import MIB, Cell, Goal, Report, Table
from .ledger import Ledger
from .library import Library
from .member import Member
from .question import WRONG_BYTES
from .settings import Settings
from .verdict import FROM_UPSTREAM
from .watch import Watch

_SHOWN = 30
_DETAIL_SHOWN = 160


def report(
    settings: Settings,
    library: Library,
    members: Sequence[Member],
    ledger: Ledger,
    watch: Watch,
    upstream_bytes: int,
) -> Report:
    """All of it."""
    title = f"chaos: {settings.nodes} nodes, {settings.seconds / 60:g} min, seed {settings.seed}"
    title += f", {'with' if settings.key else 'without'} a key; {library.total / MIB:.0f} MiB of content"
    read_bytes = ledger.read_bytes.total()
    tables = [
        _reads(f"{title}\nWhat clients asked: {ledger.reads.total()} questions, {read_bytes / MIB:.0f} MiB", ledger),
        _faults(ledger),
        _errors(ledger),
        _nodes(members, watch, upstream_bytes),
    ]
    if ledger.defects:
        tables.append(_defects(ledger))
    goals = [
        Goal("wrong bytes to a client", 0, ledger.count(excused=False, kind=WRONG_BYTES), most=True),
        Goal("errors and other defects that nothing excuses", 0, ledger.count(excused=False), most=True),
        Goal("blobs lost though nothing had happened to them", 0, sum(watch.lost.values()), most=True),
    ]
    details = {
        "settings": settings.details(),
        "replay": settings.command,
        "reads": dict(ledger.reads),
        "read_bytes": dict(ledger.read_bytes),
        "faults": dict(ledger.faults),
        "errors": [{"kind": kind, "excuse": excuse, "count": count} for (kind, excuse), count in sorted_errors(ledger)],
        "upstream_bytes": upstream_bytes,
        "content_bytes": library.total,
        "peak_bytes": watch.peak_bytes,
        "lag_s": watch.lag_s,
        "lost": watch.lost,
        "evicted": watch.evicted,
        "defects": [
            {"at_s": error.at_s, "node": error.node, "kind": error.kind, "asked": error.asked, "detail": error.detail}
            for error in ledger.defects
        ],
    }
    return Report("lab chaos", tables, goals, details)


def sorted_errors(ledger: Ledger) -> list[tuple[tuple[str, str | None], int]]:
    """How many errors of each kind and excuse there were, defects first."""
    return sorted(ledger.errors.items(), key=lambda item: (item[0][1] is not None, str(item[0][1]), -item[1]))


def _reads(title: str, ledger: Ledger) -> Table:
    rows: list[Mapping[str, Cell]] = [
        {"kind": kind, "count": count, "bytes": ledger.read_bytes[kind] / MIB}
        for kind, count in ledger.reads.most_common()
    ]
    return Table.of(title, {"kind": "question"}, {"count": ("asked", ".0f"), "bytes": ("MiB", ".1f")}, rows)


def _faults(ledger: Ledger) -> Table:
    rows: list[Mapping[str, Cell]] = [{"kind": kind, "count": count} for kind, count in ledger.faults.most_common()]
    title = f"What was done: {ledger.faults.total()} faults"
    return Table.of(title, {"kind": "fault"}, {"count": ("times", ".0f")}, rows)


def _errors(ledger: Ledger) -> Table:
    rows: list[Mapping[str, Cell]] = [
        {"kind": kind, "excuse": excuse or "NONE", "count": count} for (kind, excuse), count in sorted_errors(ledger)
    ]
    streamed = sum(count for (_, excuse), count in ledger.errors.items() if excuse == FROM_UPSTREAM)
    title = f"What clients saw: {ledger.count(excused=True)} errors excused, {ledger.count(excused=False)} not"
    title += f"; {streamed} times upstream's own wrong byte"
    return Table.of(title, {"kind": "error", "excuse": "excused by"}, {"count": ("times", ".0f")}, rows)


def _nodes(members: Sequence[Member], watch: Watch, upstream_bytes: int) -> Table:
    rows: list[Mapping[str, Cell]] = []
    for member in members:
        traits = member.traits
        parts = ["64 MiB cache on a small disk" if traits.tight else "no cache" if traits.bare else "1 GiB cache"]
        parts += ["containerd"] if traits.containerd else []
        parts += ["clock moves"] if traits.clock else []
        name = member.name
        rows.append(
            {
                "name": name,
                "traits": ", ".join(parts),
                "idle": watch.idle_bytes[name] / MIB,
                "peak": watch.peak_bytes[name] / MIB,
                "lag": watch.lag_s[name] * 1000,
                "lost": watch.lost[name],
                "evicted": watch.evicted[name],
            }
        )
    figures = {
        "idle": ("RSS at first MiB", ".0f"),
        "peak": ("peak", ".0f"),
        "lag": ("loop lag p99 ms", ".0f"),
        "lost": ("lost", ".0f"),
        "evicted": ("evicted", ".0f"),
    }
    title = f"The nodes; upstream sent {upstream_bytes / MIB:.0f} MiB"
    return Table.of(title, {"name": "node", "traits": "has"}, figures, rows)


def _defects(ledger: Ledger) -> Table:
    rows: list[Mapping[str, Cell]] = [
        {
            "at": error.at_s,
            "node": error.node,
            "kind": error.kind,
            "what": f"{error.asked}: {error.detail}"[:_DETAIL_SHOWN].replace("\n", " "),
        }
        for error in ledger.defects[:_SHOWN]
    ]
    labels = {"node": "node", "kind": "kind", "what": "asked, and seen"}
    return Table.of(f"Defects, the first {_SHOWN}", labels, {"at": ("after s", ".1f")}, rows)
