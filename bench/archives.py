"""`python -m bench archives`: an archive of one large image, loaded and saved, beside sha256sum and skopeo."""

import contextlib
import hashlib
import json
import re
import resource
import shutil
import tarfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import Final

from rich.console import Console

from testbed.agents import skvaller

from .content import make_blob
from .machine import need, workplace
from .report import GIB, MIB, OURS, BenchError, Cell, Goal, Report, Samples, Table
from .rounds import QUICK, Budget, rounds, turned
from .servers import LoneAgent

BUDGET: Final = Budget(120.0, 3, 7)
_LOOK_S: Final = 0.02
"""Time between two looks at a command's memory, s."""
_NAME: Final = "bench:1"
_LOAD, _SAVE = "load", "save"


@dataclass(slots=True)
class _Figures:
    """Of one program under one load, round by round."""

    seconds: Samples = field(default_factory=Samples)
    cpu_s: Samples = field(default_factory=Samples)
    peak_mib: Samples = field(default_factory=Samples)


def measure(console: Console, size: int, folder: Path | None, *, quick: bool = False) -> Report:
    """Run it all: some two minutes."""
    need(skopeo="skopeo", sha256sum="coreutils")
    figures = {
        (_LOAD, OURS): _Figures(),
        (_LOAD, "sha256sum"): _Figures(),
        (_SAVE, OURS): _Figures(),
        (_SAVE, "skopeo copy"): _Figures(),
    }
    agent_peak = 0.0
    with workplace(folder, 5 * size) as place, console.status("making an archive"):
        archive = _docker_archive(place, size)
        for number in rounds(QUICK if quick else BUDGET):
            agent_peak = max(agent_peak, _round(number, place, archive, figures))
    loaded = figures[_LOAD, "sha256sum"].seconds / figures[_LOAD, OURS].seconds
    saved = figures[_SAVE, "skopeo copy"].seconds / figures[_SAVE, OURS].seconds
    peak = max(max(figures[load, OURS].peak_mib.values) for load in (_LOAD, _SAVE))
    goals = [
        Goal("x sha256sum, loaded, verified and offered", 0.8, loaded.median),
        Goal("x skopeo copy, saved", 1.0, saved.median),
        Goal("peak RSS of the command, MiB", 128, peak, most=True),
        Goal("peak RSS of the agent, MiB", 128, agent_peak, most=True),
    ]
    return Report("archives", [_table(size, figures, {_LOAD: loaded, _SAVE: saved})], goals)


def _round(number: int, place: Path, archive: Path, figures: dict[tuple[str, str], _Figures]) -> float:
    """Load into an agent that has nothing, and save from it; return the agent's peak memory, MiB."""
    folder = place / f"agent-{number}"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)  # the next round has another, of the same size
        agent = stack.enter_context(LoneAgent(folder))
        target, copied = place / "saved.tar", place / "copied.tar"
        ours = skvaller("load", str(archive), "--agent", agent.url)
        for name, command in turned([(OURS, ours), ("sha256sum", ["sha256sum", str(archive)])], number):
            _take(figures[_LOAD, name], command)
        source = ["--src-tls-verify=false", f"docker://{agent.address}/library/{_NAME}"]
        skopeo = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers", *source]
        saving = [
            (OURS, skvaller("save", _NAME, "-o", str(target), "--agent", agent.url)),
            ("skopeo copy", [*skopeo, f"oci-archive:{copied}:{_NAME}"]),
        ]
        for name, command in turned(saving, number):
            _take(figures[_SAVE, name], command)
        peak = agent.usage().peak_bytes / MIB
        for path in (target, copied):
            path.unlink()
    return peak


def _take(figures: _Figures, command: Sequence[str]) -> None:
    """Run a command, and note what it took. Its memory is looked at now and then: `wait4` adds that of its parent."""
    began_at, peak = time.perf_counter(), 0.0
    with TemporaryFile() as complaints, Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=complaints) as process:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        while process.poll() is None:
            peak = max(peak, _peak_mib(process.pid))
            with contextlib.suppress(TimeoutExpired):
                process.wait(_LOOK_S)
        figures.seconds.values.append(time.perf_counter() - began_at)
        if process.returncode:
            complaints.seek(0)
            text = complaints.read().decode(errors="replace").strip()[-500:]
            raise BenchError(f"{' '.join(command)}: status {process.returncode}: {text}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures.cpu_s.values.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    figures.peak_mib.values.append(peak)


def _peak_mib(pid: int) -> float:
    """The highest resident memory of a process so far; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def _docker_archive(place: Path, size: int) -> Path:
    """What `docker save` writes of an image with one large layer that does not shrink."""
    blob, archive = make_blob(place / "blob", size), place / "archive.tar"
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [blob.digest]}}
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = json.dumps([{"Config": name, "RepoTags": [_NAME], "Layers": ["layer/layer.tar"]}]).encode()
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar, blob.file.open("rb") as layer:
        for member, length, content in (
            ("layer/layer.tar", size, layer),
            (name, len(config), BytesIO(config)),
            ("manifest.json", len(listed), BytesIO(listed)),
        ):
            head = tarfile.TarInfo(member)
            head.size = length
            tar.addfile(head, content)
    blob.file.unlink()
    return archive


def _table(size: int, figures: dict[tuple[str, str], _Figures], ratios: dict[str, Samples]) -> Table:
    rows: list[dict[str, Cell]] = [
        {
            "load": load,
            "program": program,
            "seconds": it.seconds,
            "cpu": Samples([value * GIB / size for value in it.cpu_s.values]),
            "peak": it.peak_mib,
            "ratio": None if program == OURS else ratios[load],
        }
        for (load, program), it in figures.items()
    ]
    taken = len(next(iter(figures.values())).seconds.values)
    return Table.of(
        f"An archive of docker with a layer of {size / MIB:.0f} MiB, {taken} rounds: median and range",
        {"load": "what", "program": "program"},
        {
            "seconds": ("s", ".2f"),
            "cpu": ("its CPU s/GiB", ".2f"),
            "peak": ("its peak RSS, MiB", ".0f"),
            "ratio": (f"{OURS} is", ".2f"),
        },
        rows,
    )
