"""The tree of commands: what loads, what `--help` says of each, and that each prints JSON for scripts."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from mirror.cli import main
from mirror.cli.commands import COMMANDS

NO_RESULTS = {
    "agent": "it runs until it is stopped, and says what it does in its log",
    "demo": "it shows something to a person",
    "completion": "it prints a script",
    "install": "it says what it does; the exit status says whether that is done",
    "uninstall": "it says what it does; the exit status says whether that is done",
    "join-token": "it prints one word",
    "kubernetes check": "for the chart's own pods, and so are those below",
    "kubernetes await-cleanup": "",
    "kubernetes empty": "",
    "kubernetes hold": "",
}
"""Commands that print no results which a script could want, and why not."""
HEAVY = ("aiohttp", "starlette", "uvicorn", "cryptography", "h2", "rich", "yaml", "asyncio")
LOADED = (
    "import sys; from mirror.__main__ import main; sys.argv[1:] = {arguments}\ntry:\n main()\nexcept SystemExit: pass\n"
)


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """All commands that do something, by their words."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name
            yield from leaves(below, (*path, name))
    else:
        yield " ".join(path), command


def test_every_command_that_prints_results_prints_them_as_json_too() -> None:
    lacking = [
        words
        for words, command in leaves(main)
        if words not in NO_RESULTS and not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert not lacking, f"give them --json, or say in NO_RESULTS why not: {lacking}"


def test_help_says_of_each_command_what_the_command_says_of_itself() -> None:
    for name, command in main.loaded().items():
        assert COMMANDS[name][1] == ("" if command.hidden else command.get_short_help_str(200)), name


@pytest.mark.parametrize("arguments", [["--help"], ["events", "--help"], ["find", "--help"], ["completion", "fish"]])
def test_questions_and_help_load_no_library_that_takes_a_while(arguments: list[str]) -> None:
    script = LOADED.format(arguments=arguments) + f"print('LOADED', *[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "LOADED"
