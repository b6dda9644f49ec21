"""`scuttled completion`: scripts for shells, and the answers they get.

zsh and fish use click's own scripts. For bash ours, because keys hold spaces, `*` and `:`: words
are taken from the line itself, as bash splits them at `:`, and answers are quoted.
"""

import os

import click
from click.shell_completion import BashComplete, CompletionItem, get_completion_class
from click.shell_completion import add_completion_class as _add

from scuttled.cli import output
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.errors import UsageError

_VARIABLE = "_SCUTTLED_COMPLETE"

_BASH = r"""# bash completion for scuttled: eval "$(scuttled completion bash)"
_scuttled_completion() {
    local word="${COMP_WORDS[COMP_CWORD]}" kind value quoted
    COMPREPLY=()
    while IFS=$'\t' read -r kind value; do
        case $kind in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain)
                case $word in
                    \"* | \'*) quoted=$value ;;    # bash closes the quotes that are open
                    *) printf -v quoted %q "$value" ;;
                esac
                COMPREPLY+=("$quoted")
                ;;
        esac
    done < <(
        _SCUTTLED_LINE="${COMP_LINE:0:COMP_POINT}" _SCUTTLED_BREAKS="$COMP_WORDBREAKS" \
            _SCUTTLED_COMPLETE=bash_complete "$1" 2>/dev/null
    )
}
complete -o nosort -F _scuttled_completion scuttled 2>/dev/null ||
    complete -F _scuttled_completion scuttled
"""


class _Bash(BashComplete):
    """click's bash completion, but for how words come and answers go."""

    source_template = _BASH

    def source(self) -> str:
        return _BASH  # click's own starts a bash to look at its version

    def get_completion_args(self) -> tuple[list[str], str]:
        words, last = _split(os.environ.get("_SCUTTLED_LINE", ""))
        return words[1:], last

    def complete(self) -> str:
        args, incomplete = self.get_completion_args()
        cut = _bash_keeps(incomplete, os.environ.get("_SCUTTLED_BREAKS", ""))
        lines = []
        for item in self.get_completions(args, incomplete):
            value = item.value[cut:] if item.type == "plain" else item.value
            lines.append(f"{item.type}\t{value}")
        return "\n".join(lines)

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type}\t{item.value}"


_add(_Bash)


def _split(line: str) -> tuple[list[str], str]:
    """(whole words, the one that is being typed), unquoted; quotes may still be open."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    rest = iter(line)
    for char in rest:
        if quote:
            if char == quote:
                quote = ""
                continue
            if char == "\\" and quote == '"':
                char = next(rest, "")
        elif char in "'\"":
            quote = char
            word = word or ""
            continue
        elif char == "\\":
            char = next(rest, "")
        elif char.isspace():
            if word is not None:
                words.append(word)
            word = None
            continue
        word = (word or "") + char
    return words, word or ""


def _bash_keeps(incomplete: str, breaks: str) -> int:
    """Number of characters that bash takes for an earlier word, and will not replace."""
    return max((incomplete.rfind(char) + 1 for char in ":=" if char in breaks), default=0)


@verb(
    "completion",
    examples="""
        eval "$(scuttled completion bash)"
        mkdir -p ~/.config/fish/completions
        scuttled completion fish > ~/.config/fish/completions/scuttled.fish
        mkdir -p ~/.zfunc && scuttled completion zsh > ~/.zfunc/_scuttled
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(settings: Settings, shell: str) -> None:
    """Write a completion script for SHELL.

    It completes commands, options, keys and models.
    """
    from scuttled.cli.cli import cli

    found = get_completion_class(shell)
    if found is None:
        raise UsageError(f"no completion for {shell}")
    text = found(cli, {}, "scuttled", _VARIABLE).source()
    if settings.json:
        output.emit({"shell": shell, "script": text})
    else:
        output.write(text)


def complete(cli: click.Command, instruction: str, settings: Settings) -> int:
    """Answers a shell: `instruction` is what its script put into the environment."""
    from click.shell_completion import shell_complete

    return shell_complete(cli, {"obj": settings}, "scuttled", _VARIABLE, instruction)
