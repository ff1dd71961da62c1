"""A clone of a running agent, which somebody starts again and again."""

import base64
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from testbed.agents import Agent, Endpoints
from testbed.processes import wait_until


@pytest.mark.timeout(120)
def test_clone_of_a_running_agent_ends_each_time_and_never_takes_its_place(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch(0o600)
    file.write_bytes(base64.b64encode(bytes(32)) + b"\n")
    flags = ["--key-file", str(file)]
    with ExitStack() as stack:
        original = stack.enter_context(Agent(tmp_path / "original", "edge", Endpoints.free(), flags))
        joined = [*flags, "--join", original.gossip]
        other = stack.enter_context(Agent(tmp_path / "other", "other", Endpoints.free(), joined))
        seen: set[str] = set()

        def look() -> set[str]:
            rows = [row["peer"] for row in other.members() if row["name"] == "edge" and row["state"] == "alive"]
            seen.update(rows)
            return set(rows)

        wait_until(lambda: bool(look()), "the other to see the original")

        def ended(clone: Agent) -> bool:
            return bool(look()) and not clone.running

        for through in (other, original):
            clone = Agent(tmp_path / "clone", "edge", Endpoints.free(), [*flags, "--join", through.gossip])
            stack.callback(clone.kill)
            clone.launch()
            wait_until(partial(ended, clone), "the clone to end")
            assert clone.wait() != 0
            assert "edge is also the name of the node at" in clone.output
        assert original.running
        assert len(seen) == 1, "where the original is"
        assert other.states()["edge"] == "alive"
