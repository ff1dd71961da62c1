"""Whether the runtimes ask the agent."""

from collections.abc import Sequence

from .. import Finding, Verdict, ok, skipped, warning
from ..probing import ProbeFacts, RuntimeFacts


def runtimes(all_facts: Sequence[RuntimeFacts]) -> list[Finding]:
    """Whether each of them asks the agent. One that does not is no error where another one does."""
    if not all_facts:
        return [skipped("runtime", "no container runtime is found on this machine")]
    seen = [it for it in all_facts if (it.asks if it.probe is None else it.probe.sightings)]
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
    probe, notes = facts.probe, _sentences(facts.notes)
    configure = f"skvaller configure {facts.name} --restart"
    if probe is not None and probe.sightings:
        return ok("runtime", f"{name} asks this agent: {_seen(probe)}", notes)
    if facts.problem:
        means = "Its files are not in order, so it may read none of them."
        return Finding("runtime", if_not, f"{name}: {facts.problem}", means, f"mend that line, then {configure}")
    if probe is not None and not probe.is_there:
        by_files = "asks" if facts.asks else "would not ask"
        return skipped("runtime", f"{name} does not run; by its files it {by_files} this agent")
    if probe is None or probe.problem:
        tried = "it was not told to pull" if probe is None else f"it could not be told to pull: {probe.problem}"
        return _by_files(facts, name, tried, if_not)
    said = f"It said: {' '.join(probe.said.split())}" if probe.said else ""
    if facts.asks:
        says = f"{name} does not ask this agent ({probe.how}), although its files say so"
        means = _joined("It has not read them since they changed, or reads others.", notes, said)
        return Finding("runtime", if_not, says, means, facts.restart or configure)
    says = f"{name} does not ask this agent ({probe.how})"
    return Finding("runtime", if_not, says, _joined("What it pulls comes from the registry.", notes, said), configure)


def _by_files(facts: RuntimeFacts, name: str, tried: str, if_not: Verdict) -> Finding:
    """What the files of a runtime say of which no request can be seen."""
    notes = _sentences(facts.notes)
    if facts.asks is False:
        says = f"{name} does not ask this agent by its files; {tried}"
        mend = f"skvaller configure {facts.name} --restart"
        return Finding("runtime", if_not, says, _joined("What it pulls comes from the registry.", notes), mend)
    if facts.probe is None:
        return skipped("runtime", f"{name} asks this agent by its files; {tried}")
    problem = facts.probe.problem
    if "denied" in problem.lower():
        mend = "sudo skvaller doctor"
    elif "pip install" in problem:
        mend = f"pip install{problem.partition('pip install')[2]}"
    else:
        mend = f"systemctl restart {facts.name}; skvaller doctor    # once more"
    return warning(
        "runtime", f"{name} asks this agent by its files; {tried}", _joined("Nobody saw it ask.", notes), mend
    )


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _sentences(notes: Sequence[str]) -> str:
    return " ".join(note if note.endswith(".") else f"{note}." for note in notes)


def _seen(probe: ProbeFacts) -> str:
    first = probe.sightings[0]
    registry = f" for {first.registry}" if first.registry else ", which names no registry,"
    return f"its {first.method}{registry} came after {1000 * first.after_s:.0f} ms ({probe.how})"
