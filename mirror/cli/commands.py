"""The commands, each with its module and what it does in a line.

Nothing of them is loaded for `skvaller --help` or for completing a word: a command needs its own module alone, and the
agent takes ten times as long to load as a question to it.
"""

import importlib
import os
from collections.abc import Mapping
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

_COMPLETED: Final = "_SKVALLER_COMPLETE"
"""What the scripts of `skvaller completion` set."""
HIDDEN: Final = ""
"""In place of its help: the command is for machines, so people are not told of it."""
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "agent": ("agent", "Run this node's agent until SIGTERM."),
    "completion": ("completion", "Print what completes commands, images and members in a shell."),
    "configure": ("configure", "Let this host's container runtimes ask the agent first."),
    "delete": ("removal", "Delete an image, or one blob, from this node's cache."),
    "demo": ("demo", "Watch a cluster on this machine share an image."),
    "doctor": ("doctor", "Examine this node: whether it is well, what is wrong, and the command that mends it."),
    "events": ("events", "Show what happens: pulls, members, bans, budgets, outages, the cache, keys and pins."),
    "find": ("find", "Show which members have an image or a digest."),
    "images": ("images", "Show which images this node and the other members hold."),
    "install": ("install", "Install or upgrade the agent as a systemd service of this machine."),
    "join-token": (
        "install",
        "Print what another node needs to join: `skvaller install --join-token -` reads it there.",
    ),
    "keys": ("keys", "Show and change the cluster's keys, on all its members, while it runs."),
    "kubernetes": ("kubernetes", HIDDEN),
    "load": ("load", "Put the images of an archive into the cluster, for all nodes to pull."),
    "members": ("members", "Show the members of the cluster, as this node's agent sees them."),
    "pin": ("pins", "Keep images on some members, and let nobody evict them."),
    "pins": (
        "pins",
        "Show what is pinned, the copies that are wanted, held and missing, and how many bytes are still to come.",
    ),
    "prefetch": ("prefetch", "Have nodes fetch images before somebody asks for them."),
    "prune": ("removal", "Delete from this node's cache what is not used, image by image."),
    "refresh": ("refresh", "Ask upstream now what a tag means, however fresh the last answer is."),
    "save": ("save", "Write images of the cluster into one archive, whichever nodes hold them."),
    "token": (
        "token",
        "Print a password with which programs of other machines push to any node that runs with --push key.",
    ),
    "top": ("top", "Watch the cluster: members, pulls by source, rates, budgets, and what is wrong."),
    "unconfigure": ("configure", "Take back what `skvaller configure` wrote."),
    "uninstall": ("install", "Take back what `install` did to this machine."),
    "unpin": ("pins", "Pin images no more: they go when their place is needed."),
    "verify": (
        "verify",
        "Say whether every byte of some images is in the cluster, on how many members, and whose loss would hurt.",
    ),
    "why": ("why", "Show why an image or a blob is on this node, or is not."),
}
"""By name: the module below this package, which has the command under its own name; and its short help."""


class Commands(click.Group):
    """A group whose commands are loaded when they are run."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command, or answer a shell that asks how a word may go on: `completion` knows how that one asks."""
        if _COMPLETED in os.environ:
            importlib.import_module(f"{__package__}.completion")
        return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in order."""
        return sorted({*COMMANDS, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            module = importlib.import_module(f"{__package__}.{COMMANDS[cmd_name][0]}")
            self.add_command(getattr(module, cmd_name.replace("-", "_")))
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each does, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name in self.list_commands(ctx) if (text := self._help(name))])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, without loading any; or an option of the group."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [
            *(CompletionItem(name, help=text) for name in names if (text := self._help(name))),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def _help(self, name: str) -> str:
        return COMMANDS[name][1] if name in COMMANDS else self.commands[name].get_short_help_str(200)

    def loaded(self) -> Mapping[str, Any]:
        """All commands, which takes a while: for those who look at each."""
        context = click.Context(self)
        return {name: self.get_command(context, name) for name in self.list_commands(context)}
