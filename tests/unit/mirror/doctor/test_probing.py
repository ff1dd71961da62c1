"""A runtime is told to pull by the first way that can be gone, and stopped as soon as the agent has seen it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mirror.doctor.facts import Sighting
from mirror.doctor.probing import NotRun, NotThere, Pull, Way, probe, program, ways_of

SEEN = Sighting("HEAD", "127.0.0.1", "containerd", "docker.io", 0.1)


@dataclass
class Agent:
    """Sees pulls of the ways that ask it."""

    announced: int = 0
    asked: set[str] = field(default_factory=set)

    def announce(self) -> str:
        self.announced += 1
        return f"skvaller-doctor/{self.announced}:probe"

    def sightings(self, name: str) -> Sequence[Sighting]:
        return [SEEN] if name in self.asked else []


@dataclass
class Played:
    """A pull that ends at once, and may ask the agent before."""

    said: str | None
    stopped: int = 0

    def ended(self) -> str | None:
        return self.said

    def stop(self) -> None:
        self.stopped += 1


def way(agent: Agent, pull: Played, *, asks: bool) -> Way:
    def begin(image: str) -> Pull:
        registry, _, name = image.partition("/")
        assert registry == "docker.io"
        agent.asked |= {name} if asks else set()
        return pull

    return Way("played", begin)


def no_way(error: NotRun) -> Way:
    def begin(image: str) -> Pull:
        raise error

    return Way("none", begin)


def test_a_pull_that_is_seen_is_stopped_while_it_goes_on() -> None:
    agent, pull = Agent(), Played(None)
    facts = probe([way(agent, pull, asks=True)], agent)
    assert facts.sightings == [SEEN]
    assert pull.stopped == 1


def test_a_pull_that_ends_unseen_says_why() -> None:
    agent, pull = Agent(), Played("no such host")
    facts = probe([way(agent, pull, asks=False)], agent)
    assert (facts.how, facts.said, list(facts.sightings)) == ("played", "no such host", [])


def test_the_next_way_is_gone_where_one_cannot_be() -> None:
    agent = Agent()
    unable = way(agent, Played("UNIMPLEMENTED unknown service"), asks=False)
    facts = probe([no_way(NotThere("no socket")), unable, way(agent, Played(None), asks=True)], agent)
    assert facts.sightings == [SEEN]
    assert agent.announced == 3


def test_a_runtime_that_does_not_run_is_told_from_one_that_cannot_be_tried() -> None:
    absent = probe([no_way(NotThere("no socket")), no_way(NotThere("no program"))], Agent())
    assert not absent.is_there
    forbidden = probe([no_way(NotRun("Permission denied"))], Agent())
    assert forbidden.is_there
    assert "Permission denied" in forbidden.problem


def test_a_program_is_ended_with_all_that_it_started() -> None:
    agent = Agent()
    pull = program("sh", "-c", "sleep 60 & sleep 60 #").begin("docker.io/x")
    assert pull.ended() is None
    pull.stop()
    facts = probe([program("sh", "-c", "echo cannot; exit 1 #")], agent)
    assert facts.said == "cannot"
    assert not probe([program("no-such-program", "pull")], agent).is_there


def test_each_known_runtime_has_a_way() -> None:
    from mirror.runtimes.known import known

    assert all(ways_of(runtime.name, Path("/")) for runtime in known())
