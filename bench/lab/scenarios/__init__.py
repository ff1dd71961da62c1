"""The scenarios: in what order the clients pull, and what happens meanwhile."""

from collections.abc import Mapping
from typing import Final

from .discover import DISCOVER
from .faults import FAULTS
from .idle import IDLE
from .pulls import PULLS
from .scenario import Needs, Scenario

__all__ = ["ALIASES", "SCENARIOS", "Needs", "Scenario"]

SCENARIOS: Final[Mapping[str, Scenario]] = {scenario.name: scenario for scenario in (*PULLS, *FAULTS, DISCOVER, IDLE)}

ALIASES: Final[Mapping[str, str]] = {"create": "fanout", "update": "rolling"}
"""What Spegel's benchmark calls two of them."""
