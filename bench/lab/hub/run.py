"""`python -m bench lab hub`: clusters behind one address, and a hub that counts what it is asked."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from testbed.hub.authority import Authority
from testbed.network import remove_orphans

from ...machine import need, need_root, workplace
from ...report import Report
from ..programs import Programs, find
from ..servers import keep_logs
from . import questions, tables
from .pulls import Round, rounds
from .settings import CROWD_NODES, HOWS, Settings
from .stage import Ground, Stage

_COPIES = 3
"""Of each image on each host: in its agent's cache, and in its containerd packed and unpacked."""

_Found = TypeVar("_Found")


def measure(console: Console, settings: Settings) -> Report:
    """Run it all."""
    programs = _check(settings)
    remove_orphans()
    needed_bytes = settings.image * settings.images * (2 + settings.nodes * _COPIES)
    with (
        workplace(settings.folder, needed_bytes) as place,
        ExitStack() as stack,
        console.status("making the network") as status,
    ):
        authority = Authority(place)
        stack.enter_context(authority.believed())
        ground = Ground(settings, programs, authority, stack)

        def say(what: str) -> None:
            status.update(what)
            if not console.is_terminal:
                console.print(what, highlight=False)

        pulled: dict[str, list[Round]] = {}
        for mode in settings.modes:
            say(f"{mode}: all nodes pull")
            pulled[mode] = _on(partial(ground.stage, mode), place / mode, settings, rounds)
        asked = _asked(ground, place, settings, say) if "skvaller" in settings.modes else None
    return tables.report(settings, pulled, asked, programs.versions)


def _asked(ground: Ground, place: Path, settings: Settings, say: Callable[[str], None]) -> tables.Asked:
    """What agents are asked by HTTP alone, each in a cluster of its own."""
    stage = partial(ground.stage, "skvaller", pulls=False)
    say("skvaller: the line is cut")
    outage = _on(stage, place / "outage", settings, questions.outage)
    moved, crowd = {}, {}
    for how in HOWS:
        flags = ["--tags", how]
        say(f"skvaller, --tags {how}: a tag moves, a crowd")
        moved[how] = _on(partial(stage, flags=flags), place / f"moved-{how}", settings, questions.moved)
        few = partial(stage, flags=flags, nodes=min(CROWD_NODES, settings.nodes))
        crowd[how] = _on(few, place / f"crowd-{how}", settings, questions.crowd)
    return tables.Asked(outage, moved, crowd)


def _on(
    make: Callable[[Path, ExitStack], Stage], folder: Path, settings: Settings, play: Callable[[Stage], _Found]
) -> _Found:
    """Play something on a stage of its own, and clean up."""
    folder.mkdir()
    try:
        with ExitStack() as stack:
            return play(make(folder, stack))
    finally:
        if settings.keep_logs is not None:
            keep_logs(folder, settings.keep_logs / folder.name)
        shutil.rmtree(folder, ignore_errors=True)


def _check(settings: Settings) -> Programs:
    """Refuse at once what would fail later; return what was found."""
    need_root("lab hub")
    need(tc="iproute2", nft="nftables", setpriv="util-linux", docker_registry="docker-registry")
    if settings.spegel_containerd is None:
        need(containerd="containerd", ctr="containerd")
    return find(
        containerd=settings.spegel_containerd,
        spegel=settings.spegel,
        client="ctr",
        with_spegel="spegel" in settings.modes,
    )
