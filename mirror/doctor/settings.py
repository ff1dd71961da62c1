"""The settings of the agent that is examined, as they were found."""

from dataclasses import dataclass

from ..config import AgentConfig


@dataclass(frozen=True, slots=True)
class FoundSettings:
    """The settings of the agent of this machine.

    Args:
        origin: where they were found, for people.
        config: what they say; None if they are not in order.
        problem: why they are not.
        runs_as: the user that its unit names; empty if none does.
        is_found: whether somebody wrote them; else they are what an agent has by default.
    """

    origin: str
    config: AgentConfig | None
    problem: str = ""
    is_found: bool = True
    runs_as: str = ""
