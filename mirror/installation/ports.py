"""Addresses that an agent would listen at and that another program has, before the agent finds out."""

from ..config import AgentConfig
from ..doctor.starting import ports_of


def taken(config: AgentConfig) -> list[str]:
    """A sentence for each address of these settings at which another program listens."""
    return [
        f"{it.setting}: {it.address} is taken by {it.holder}; stop that, or give --{it.setting} another port"
        for it in ports_of(config)
        if it.holder is not None
    ]
