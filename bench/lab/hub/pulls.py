"""All nodes pull all images at once, with `ctr`, as their runtimes would."""

import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from testbed.errors import RunError
from testbed.hub import Counts
from testbed.processes import run

from .settings import POLITENESS
from .stage import TAG, Stage

_PULL_S: Final = 150.0
"""How long one pull may take, s: all of them share the cores of this machine."""

_SAID_CHARACTERS: Final = 100
NEW_TAG: Final = "2"


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round.

    Args:
        what: was pulled, in words.
        pulls: how many there were.
        errors: what those that failed said, and how often.
        seconds: that all of it took.
        counts: what the hub was asked meanwhile.
    """

    what: str
    pulls: int
    errors: Mapping[str, int]
    seconds: float
    counts: Counts

    @property
    def failed(self) -> int:
        """How many pulls failed."""
        return sum(self.errors.values())


def rounds(stage: Stage) -> list[Round]:
    """All images, then all of them again, then new tags with the same digests."""
    hosts_dirs = {node.name: stage.mode.hosts_dir(node) for node in stage.nodes}
    found = [_round("all images", stage, TAG, hosts_dirs), _round("all of them again", stage, TAG, hosts_dirs)]
    for repository, image in stage.images.items():
        stage.hub.shelf.move(repository, NEW_TAG, image.manifest)
    return [*found, _round("new tags, same digests", stage, NEW_TAG, hosts_dirs)]


def _round(what: str, stage: Stage, tag: str, hosts_dirs: Mapping[str, Path]) -> Round:
    wanted = list(product(stage.nodes, stage.images))
    before, began_at = stage.hub.counts(), time.monotonic()

    def pull(node: str, netns: str, repository: str) -> str | None:
        command = stage.containerds[node].pull_command(f"docker.io/{repository}:{tag}", hosts_dirs[node])
        try:
            run(["nice", "-n", str(POLITENESS), *command], netns=netns, timeout_s=_PULL_S)
        except RunError as error:
            return str(error).rpartition("ctr: ")[2].strip()[-_SAID_CHARACTERS:]
        except subprocess.TimeoutExpired:
            return f"not ended after {_PULL_S:g} s"
        return None

    with ThreadPoolExecutor(len(wanted)) as threads:
        said = list(threads.map(lambda pair: pull(pair[0].name, pair[0].netns, pair[1]), wanted))
    errors = dict(Counter(text for text in said if text is not None))
    return Round(what, len(wanted), errors, time.monotonic() - began_at, stage.hub.counts() - before)
