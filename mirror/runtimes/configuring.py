"""Making runtimes ask the agent, and taking that back: what is to be written, and the writing of it.

What was added before is always taken away first, in thought: from the copy where nobody has changed the file since,
else from the file itself, by what the record says. So it is the same to do it once or twice, for another address or
for other registries, and after others have changed the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import ConfigError
from . import Installed, Runtime, Texts, Wanted
from .host import Host
from .records import Record, Records, Written, digest_of
from .writing import delete, delete_folders, write


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one file; a text that is None stands for no file.

    Args:
        path: on the host.
        now: its text as it is.
        then: as it will be.
    """

    path: str
    now: str | None
    then: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to a runtime.

    Args:
        runtime: its name.
        version: as far as it is known.
        steps: the files that change; none if it is as wanted.
        restart: the command without which the runtime does not see it, or has not seen what was written before.
        notes: for the operator.
        record: what is to be remembered; None for nothing.
        copies: what is to be kept of the files that change, by path; None if nothing is to be remembered anew.
        is_adding: whether it makes the runtime ask the agent, rather than no more.
    """

    runtime: str
    version: str | None
    steps: tuple[Step, ...] = ()
    restart: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    record: Record | None = None
    copies: Mapping[str, str] | None = None
    is_adding: bool = True

    @property
    def is_done(self) -> bool:
        """Whether all is as wanted, and remembered so."""
        return self.is_adding and self.copies is None


def plan_adding(runtime: Runtime, host: Host, wanted: Wanted, records: Records) -> Plan | None:
    """What makes a runtime ask the agent first; None if the host does not have it. Reads, and writes nothing.

    Raises:
        ConfigError: a file cannot be read, or is not in order; it says which, where, and what to do.
    """
    installed = runtime.look(host)
    if installed is None:
        return None
    record = records.read(runtime.name)
    change = runtime.add(installed, wanted)
    due = record.restart if record is not None else ()
    if not change.files and (record is None or record.wanted == wanted):
        return Plan(runtime.name, installed.version, (), due, change.notes, record)
    base: dict[str, str | None] = {}
    if record is not None:
        base = {path: _before(runtime, host, record, path, records) for path in record.files}
        change = runtime.add(_with(installed, base), wanted)
    now = {path: host.read(path) for path in [*change.files, *(path for path in base if path not in change.files)]}
    steps = tuple(
        Step(path, text, then)
        for path, text in now.items()
        if (then := change.files[path].text if path in change.files else base[path]) != text
    )
    before = {path: base.get(path, now[path]) for path in change.files}
    files = {
        path: Written(addition.added, digest_of(addition.text), before[path] is not None, addition.at_once)
        for path, addition in change.files.items()
    }
    known = {**(record.files if record is not None else {}), **files}
    restart = due if all(known[step.path].at_once for step in steps) else change.restart or installed.restart
    folders = record.folders if record is not None else ()
    remembered = Record(runtime.name, wanted, files, folders, restart)
    copies = {path: text for path, text in before.items() if text is not None}
    return Plan(runtime.name, installed.version, steps, restart, change.notes, remembered, copies)


def plan_removing(runtime: Runtime, host: Host, records: Records) -> Plan | None:
    """What takes back what was added to a runtime; None if nothing was. Reads, and writes nothing.

    Raises:
        ConfigError: a file cannot be read, or is not in order.
    """
    record = records.read(runtime.name)
    if record is None:
        return None
    steps = []
    for path in reversed(list(record.files)):
        now, then = host.read(path), _before(runtime, host, record, path, records)
        if now != then:
            steps.append(Step(path, now, then))
    installed = runtime.look(host)
    version, restart = (installed.version, installed.restart) if installed is not None else (None, ())
    is_seen = all(record.files[step.path].at_once for step in steps)
    return Plan(runtime.name, version, tuple(steps), () if is_seen else restart, is_adding=False)


def carry_out(plan: Plan, host: Host, records: Records) -> None:
    """Write what was planned, and remember it. What was written is written back if not all of it can be.

    Raises:
        ConfigError: a file cannot be written; all are as they were.
    """
    before = records.read(plan.runtime)
    if plan.record is not None and plan.record != before:
        records.write(plan.record, plan.copies or {})
    done: list[Step] = []
    made: list[str] = []
    try:
        for step in plan.steps:
            made += _put(host, step.path, step.then)
            done.append(step)
    except ConfigError:
        for step in reversed(done):
            _put(host, step.path, step.now)
        delete_folders(host, made)
        if before is None:
            records.forget(plan.runtime)
        else:
            records.write(before, {})
        raise
    if before is not None and any(step.then is None for step in plan.steps):
        delete_folders(host, list(before.folders))  # an empty one of a registry would keep `_default` from it
    if plan.record is None:
        records.forget(plan.runtime)
    elif made:
        records.write(replace(plan.record, folders=(*plan.record.folders, *made)), {})


def restarted(runtime: str, records: Records) -> None:
    """Remember that a runtime has read its files."""
    record = records.read(runtime)
    if record is not None and record.restart:
        records.write(replace(record, restart=()), {})


def _put(host: Host, path: str, text: str | None) -> list[str]:
    """Make a file have a text, or be gone; returns the folders that were made."""
    if text is None:
        delete(host, path)
        return []
    return write(host, path, text)


def _before(runtime: Runtime, host: Host, record: Record, path: str, records: Records) -> str | None:
    """What a file would be without what was added to it; None if it would not be there."""
    now, written = host.read(path), record.files[path]
    if now is None:
        return None
    if digest_of(now) == written.digest:
        return records.copy(runtime.name, path) if written.existed else None
    return runtime.remove(path, now, written.added)


def _with(installed: Installed, base: Mapping[str, str | None]) -> Installed:
    """A runtime as it would be with other texts."""
    texts: Texts = {path: text for path, text in {**installed.texts, **base}.items() if text is not None}
    return replace(installed, texts=texts)
