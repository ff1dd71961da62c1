"""Whether the runtimes ask the agent."""

from collections.abc import Sequence

from .. import Finding, Verdict, ok, skipped, warning
from ..probing import ProbeFacts, RuntimeFacts


def runtimes(all_facts: Sequence[RuntimeFacts]) -> list[Finding]:
    """Whether each of them asks the agent. One that does not is no error where another one does."""
    if not all_facts:
        return [skipped("runtime", "no container runtime is found on this machine")]
    seen = [it for it in all_facts if it.probe is not None and it.probe.sightings]
    verdict = Verdict.WARNING if seen else Verdict.ERROR
    return [_runtime(it, verdict) for it in all_facts]


def without_agent(all_facts: Sequence[RuntimeFacts]) -> list[Finding]:
    """What the files of the runtimes say while no agent runs: meanwhile they all ask the registries."""
    found = []
    for it in all_facts:
        name = f"{it.name} {it.version}".strip()
        if it.problem:
            found.append(warning("runtime", f"{name}: {it.problem}", "It may read none of its files."))
        elif it.asks:
            found.append(
                skipped("runtime", f"{name} is to ask this agent by its files; without one it asks registries")
            )
        else:
            says = f"{name} does not ask this agent by its files"
            mend = f"skvaller configure {it.name}    # once the agent runs"
            found.append(warning("runtime", says, "What it pulls comes from the registry.", mend))
    return found


def _runtime(facts: RuntimeFacts, if_not: Verdict) -> Finding:
    name = f"{facts.name} {facts.version}".strip()
    probe = facts.probe
    if probe is not None and probe.sightings:
        return ok("runtime", f"{name} asks this agent: {_seen(probe)}")
    configure = f"skvaller configure {facts.name} --restart"
    if facts.problem:
        means = "Its files are not in order, so it may read none of them."
        return Finding("runtime", if_not, f"{name}: {facts.problem}", means, f"mend that line, then {configure}")
    notes = "".join(f" {note}." if not note.endswith(".") else f" {note}" for note in facts.notes)
    if probe is not None and not probe.is_there:
        by_files = "By its files it asks this agent" if facts.asks else "By its files it would not ask this agent"
        return skipped("runtime", f"{name} does not run. {by_files}")
    if probe is None or probe.problem:
        why = f": {probe.problem}" if probe is not None else ""
        if facts.asks is False:
            says = f"{name} does not ask this agent by its files, and could not be tried{why}"
            return Finding("runtime", if_not, says, f"What it pulls comes from the registry.{notes}", configure)
        says = f"{name} could not be tried{why}"
        by_files = "By its files it asks this agent." if facts.asks else "Nobody knows whether it asks this agent."
        return Finding("runtime", Verdict.WARNING, says, by_files + notes, f"systemctl status {facts.name}")
    said = f" It said: {' '.join(probe.said.split())}" if probe.said else ""
    if facts.asks:
        says = f"{name} does not ask this agent ({probe.how}), although its files say so"
        means = f"It has not read them since they changed, or reads others.{notes}{said}"
        return Finding("runtime", if_not, says, means, facts.restart or configure)
    says = f"{name} does not ask this agent ({probe.how})"
    return Finding("runtime", if_not, says, f"What it pulls comes from the registry.{notes}{said}", configure)


def _seen(probe: ProbeFacts) -> str:
    first = probe.sightings[0]
    registry = f" for {first.registry}" if first.registry else ", naming no registry"
    return f"its {first.method}{registry} came after {1000 * first.after_s:.0f} ms ({probe.how})"
