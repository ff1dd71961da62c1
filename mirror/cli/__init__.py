"""The command line: one module for each command.

Every error is one line that says what to do next. Commands, and the libraries that they need, load when one runs: so
`--help`, completion and the commands that only ask a running agent start fast.
"""

import errno
import os
from typing import Any

import click

from .. import __version__
from ..errors import ConfigError, StartFailed
from .commands import Commands

_EPILOG = """\b
A cluster, as services of its machines:
  node1# skvaller install --restart
  node2# skvaller install --restart --join-token -    it asks for what `skvaller join-token` prints on node1
or by hand, with http://127.0.0.1:5000 as the mirror of each node's container runtime:
  node1$ skvaller agent --peer 0.0.0.0:5001 --gossip 0.0.0.0:7946
  node2$ skvaller agent --peer 0.0.0.0:5001 --gossip 0.0.0.0:7946 --join node1
To see it all on this machine first: skvaller demo

\b
Exit status: 0 if all went well; 1 if not, or if what was looked for is not there;
2 if a flag or setting is wrong; 3 if no agent answers.
"""


_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk that has no room. A command's answer goes to one where its output is redirected."""


class Misconfigured(click.ClickException):
    """A flag or a setting is wrong: the same will not go better the next time."""

    exit_code = 2


class _OneLine(Commands):
    """Prints errors that the operator can correct as one line, without a stack trace."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            kind = click.ClickException if isinstance(error, StartFailed) else Misconfigured
            raise kind(str(error)) from None
        except OSError as error:
            if error.errno not in _FULL:
                raise
            place = error.filename or "standard output"
            raise click.ClickException(f"{place}: it cannot be written: {error.strerror}; make room") from None


@click.group(
    cls=_OneLine, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="skvaller")
def main() -> None:
    """Share container images inside a small cluster.

    One agent per node answers the container runtime as a registry mirror. What any node holds, every node can pull at
    LAN speed; only what none holds comes from upstream.
    """
    if any(name.startswith("SKVALLER_") and name != "SKVALLER_AGENT" for name in os.environ):  # settings take a while
        from ..config import refuse_misspelt

        refuse_misspelt(os.environ)
