"""Why an agent does not run."""

from collections.abc import Sequence
from typing import Final

from ...quantities import time_text
from .. import Finding, Verdict, error, ok
from ..advice import Advice
from ..starting import FolderFacts, PortFacts, SeedFacts, StartFacts
from .node import containerd_socket, disk_itself

_TAKEN: Final = "in use"
_ENDS: Final = "The agent ends with status 2, and is not started again."
_AS_ROOT: Final = "sudo skvaller doctor    # or, where the agent runs as another user, give that one the file"
_NEEDED: Final = ("settings", "keys", "ports", "folder")
"""Checks of what an agent cannot start without."""


def settings_problem(problem: str, advice: Advice, key_file: str = "") -> Finding:
    """Settings that an agent refuses.

    Args:
        problem: why.
        advice: commands.
        key_file: that they name, if that is known.
    """
    file = key_file or "/etc/skvaller/cluster.key"
    if "run chmod" in problem:
        return error("keys", problem, _ENDS, f"{problem.partition('run ')[2]}, then {advice.restart}")
    if "ermission" in problem:
        return error("settings", problem, "This user may not read it: run doctor as the agent is run.", _AS_ROOT)
    if "key-file" in problem or "a key is 32 bytes" in problem:
        means = "Without the cluster's key no agent starts."
        mend = f"scp root@OTHER-NODE:{file} {file} && chmod 600 {file}, then {advice.restart}"
        return error("keys", problem, means, mend)
    if problem.startswith("advertise"):
        return error("settings", problem, _ENDS, advice.set("advertise", "IP-OF-THIS-NODE"))
    mend = f"$EDITOR {advice.config}; skvaller agent --config {advice.config} --check"
    return error("settings", problem, _ENDS, mend)


def start(facts: StartFacts, why_none: str, advice: Advice) -> list[Finding]:
    """What keeps an agent from its start; where nothing does, how to start it.

    Args:
        facts: what was tried.
        why_none: why none answers: a sentence.
        advice: commands.
    """
    found = [settings_problem(facts.refusal, advice, facts.key_file)] if facts.refusal else []
    found += ports(facts.ports, advice)
    found += folder(facts.folder, advice)
    if facts.containerd_way is not None and not facts.containerd_way.is_open:
        others = [it for it in facts.sockets if it != facts.containerd]
        found.append(containerd_socket(facts.containerd, facts.containerd_way.problem, others, advice))
    elif facts.containerd:
        found.append(ok("containerd", f"{facts.containerd} takes connections"))
    found += [seed(it, advice) for it in facts.seeds]
    return [_agent(facts, found, why_none, advice), *found]


def _agent(facts: StartFacts, found: Sequence[Finding], why_none: str, advice: Advice) -> Finding:
    """That none runs, and the way out: what is in its way is said by the others."""
    says = why_none
    is_kept = facts.folder.disk.is_read_only or any(it.verdict is Verdict.ERROR and it.check in _NEEDED for it in found)
    if facts.ended is not None:
        ago, text = facts.ended
        says += f". The last one ended {time_text(ago)} ago: {text}"
        if "is also the name of the node at" in text:
            return error(
                "name",
                says,
                "Two nodes must not have one name: the later one ends.",
                advice.set("name", "ANOTHER-NAME"),
            )
    if is_kept:
        return error("agent", says, "What keeps it from its start is said below.", advice.log)
    return error("agent", says, "Nothing keeps it from its start that can be seen from here.", advice.start_and_look)


def ports(all_ports: Sequence[PortFacts], advice: Advice) -> list[Finding]:
    """Whether the agent's addresses are free."""
    found = []
    for it in all_ports:
        if not it.problem:
            continue
        what = f"{it.setting}: {it.address}" + (f" ({it.protocol.upper()})" if it.protocol != "unix" else "")
        if _TAKEN in it.problem:
            says = f"{what} is taken by {it.holder}" if it.holder else f"{what} is taken"
            found.append(error("ports", says, *_taken(it, advice)))
        elif "ermission" in it.problem:
            found.append(
                error(
                    "ports",
                    f"{what}: {it.problem}",
                    "Ports below 1,024 are for root.",
                    advice.set(it.setting, "IP:PORT"),
                )
            )
        else:
            found.append(
                error(
                    "ports",
                    f"{what}: {it.problem}",
                    "This machine has no such address.",
                    f"ip -brief address; {advice.set(it.setting, 'IP:PORT')}",
                )
            )
    if not found:
        return [ok("ports", f"{', '.join(dict.fromkeys(it.address for it in all_ports))} are free")]
    return found


def _taken(it: PortFacts, advice: Advice) -> tuple[str, str]:
    """What it means that a port is taken, and what mends it."""
    holder = it.holder
    if holder is not None and holder.is_agent:
        return (
            "An agent runs already. It starts or ends at this moment, or answers elsewhere than it was asked.",
            f"skvaller doctor --agent URL-OF-ITS-CLIENT-ENDPOINT    # or, once it is of no use: kill {holder.pid}",
        )
    stop = "ss -lntup" if holder is None or holder.pid is None else f"kill {holder.pid}"
    return "The agent cannot listen there.", f"{stop}    # or {advice.set(it.setting, 'IP:OTHER-PORT')}"


def folder(facts: FolderFacts, advice: Advice) -> list[Finding]:
    """Whether the data folder can be used."""
    if facts.is_locked:
        return [
            error(
                "folder",
                f"an agent uses {facts.path} now",
                "It starts or ends at this moment, or answers elsewhere than it was asked.",
                f"fuser -v {facts.path}/lock; skvaller doctor --agent URL-OF-ITS-CLIENT-ENDPOINT",
            )
        ]
    is_others = facts.owner not in ("", facts.runs_as) and facts.runs_as != "root"
    if is_others or (facts.problem and not facts.disk.is_read_only):
        whose = (
            f"{facts.path} is of {facts.owner}, and the agent runs as {facts.runs_as}" if is_others else facts.problem
        )
        return [
            error(
                "folder",
                whose,
                "The agent cannot keep anything there.",
                f"chown -R {facts.runs_as}: {facts.path}    # or {advice.set('data-dir', 'FOLDER')}",
            )
        ]
    return disk_itself(facts.disk, 0, advice)


def seed(facts: SeedFacts, advice: Advice) -> Finding:
    """Whether a node to join through can be reached over TCP."""
    if facts.way.is_open:
        return ok("seeds", f"{facts.place} takes connections")
    host, _, port = facts.place.rpartition(":")
    means = "The agent starts, and is alone until another one joins it."
    if not facts.is_resolved:
        return error(
            "seeds",
            f"join: {facts.place}: its name is not resolved: {facts.way.problem}",
            means,
            f"getent hosts {host}; {advice.set('join', ['HOST-OR-IP'])}",
        )
    if "refused" in facts.way.problem.lower():
        return error(
            "seeds",
            f"join: nothing listens at {facts.place}",
            means,
            f"on {host}: {advice.start}    # or {advice.set('join', ['HOST:PORT'])}",
        )
    return error("seeds", f"join: {facts.place}: {facts.way.problem}", means, advice.open_port(int(port), "tcp", host))
