"""Images whose pods run, without a registry: a program that waits, and what else they weigh."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..images import Image, build_image
from ..processes import run
from .node import PAUSE

_WAITS: Final = """\
#include <signal.h>
#include <unistd.h>
static void stop(int signal) { _exit(0); }
int main(void) {
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  signal(SIGCHLD, SIG_IGN);
  for (;;) pause();
}
"""


class Images:
    """Makes images.

    Args:
        folder: for their files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._program = folder / "wait"
        source = folder / "wait.c"
        source.write_text(_WAITS)
        run(["cc", "-static", "-Os", "-s", "-o", str(self._program), str(source)])
        self._made = 0
        self.pause = self.make(PAUSE)

    def make(self, name: str, layer_sizes: Sequence[int] = ()) -> Image:
        """An image whose container waits until it is stopped, with layers of random bytes; no two share one."""
        self._made += 1
        return build_image(self._folder, name, layer_sizes, seed=self._made, program=self._program)
