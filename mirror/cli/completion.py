"""`skvaller completion`: the script by which a shell completes commands, options, and names of images and members."""

import os
import shlex
from collections.abc import Mapping
from typing import Final

import click
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

_EPILOG = """\b
To have it in every shell from now on:
  bash    skvaller completion bash > /etc/bash_completion.d/skvaller
  zsh     skvaller completion zsh > "${fpath[1]}/_skvaller"
  fish    skvaller completion fish > ~/.config/fish/completions/skvaller.fish
For this shell alone, in bash:  eval "$(skvaller completion bash)"
"""

_BASH: Final = """\
%(complete_func)s() {
    local IFS=$'\\n' line="${COMP_LINE:0:$COMP_POINT}" word before response kind value
    word="${line##*[[:space:]]}"
    # Names of images have colons, at which bash ends a word: what stands before the last one is not its to replace.
    before="${word%%"${word##*:}"}"
    response=$(env COMP_LINE="$line" %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    for value in $response; do
        kind="${value%%%%,*}" value="${value#*,}"
        case "$kind" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$before"}") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Completion for bash, which knows that names of images have colons."""

    source_template = _BASH

    def source(self) -> str:
        """The script. bash itself is not looked for: it may be that of another machine."""
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one at it."""
        line = os.environ["COMP_LINE"]
        words = _words(line)[1:]
        return (words, "") if not line or line[-1].isspace() or not words else (words[:-1], words[-1])


add_completion_class(Bash)
_SHELLS: Final[Mapping[str, type[ShellComplete]]] = {"bash": Bash, "zsh": ZshComplete, "fish": FishComplete}


@click.command(epilog=_EPILOG)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what completes commands, images and members in a shell.

    Names of images and members are those that this machine's agent knows, if one runs.
    """
    click.echo(_SHELLS[shell](context.find_root().command, {}, "skvaller", "_SKVALLER_COMPLETE").source(), nl=False)


def _words(line: str) -> list[str]:
    """The words of a line as a shell has them; the last one may lack its closing quote."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:
        words.append(lexer.token)
    return words
