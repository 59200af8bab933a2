"""The command line: each command is a verb of `databacked.verbs`, said once more.

Exit codes: 0 done; 1 what was asked for cannot be done, and why is said; 2 the command was written
wrongly; 70 a mistake of databacked; 130 interrupted.
"""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from databacked.errors import DatabackedError

FAILED, MISTAKE, INTERRUPTED = 1, 70, 130
"""Exit codes besides click's own: 0 and 2."""

F = TypeVar("F", bound=Callable[..., Any])


def common(command: F) -> F:
    """Give a command the options that all commands have."""
    for option in (
        click.option("--json", "json", is_flag=True, help="Print JSON, for programs."),
        click.option("-v", "--verbose", is_flag=True, help="Say more; tracebacks, too."),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    ):
        command = option(command)
    return command


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 it cannot be done, 2 written wrongly, 70 a mistake of "
    "databacked, 130 interrupted. Completion for your shell: databacked completion --help",
)
@click.version_option(
    None, "-V", "--version", package_name="databacked", message="databacked %(version)s"
)
def app() -> None:
    """Results that know what made them: ask what made a file, and what lies in a place."""


@app.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@common
def describe(paths: Sequence[Path], *, json: bool, verbose: bool, quiet: bool) -> int:
    """Say what made a file, or what lies in a place.

    PATH is a result's file (or a folder that is one, such as an OME-Zarr), a place (a folder of
    results), or a folder with places below it, such as a project.
    """
    from databacked.verbs import describe as described

    found: list[dict[str, Any]] = []
    failed = False
    for path in paths:
        try:
            one = described(path)
        except DatabackedError as error:
            if verbose:
                raise
            _err(str(error))
            failed = True
            continue
        found.append(one.as_dict())
        if not (quiet or json):
            click.echo(str(one))
    if json and not quiet:
        said = found[0] if len(paths) == 1 and found else found
        click.echo(json_module.dumps(said, indent=1))
    return FAILED if failed else 0


SHELLS = ("bash", "zsh", "fish")


@app.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    r"""Print what completes commands in a shell.

    \b
    bash   databacked completion bash >> ~/.bashrc
    zsh    databacked completion zsh >> ~/.zshrc
    fish   databacked completion fish > ~/.config/fish/completions/databacked.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise DatabackedError(f"{shell}: no completion is known; known are {', '.join(SHELLS)}.")
    click.echo(kind(app, {}, "databacked", "_DATABACKED_COMPLETE").source())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code.

    Parameters
    ----------
    arguments
        Without the program's name; those of this process unless given.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(app.main(given, prog_name="databacked", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _err("interrupted")
        return INTERRUPTED
    except SystemExit:  # click's way of saying that `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except DatabackedError as error:
        if _is_verbose(given):
            raise
        _err(str(error))
        return FAILED
    except OSError as error:
        if _is_verbose(given):
            raise
        _err(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
        return FAILED
    except Exception as error:
        if _is_verbose(given):
            raise
        _err(
            f"a mistake of databacked: {type(error).__name__}: {error}. The same command with -v "
            "says where; please tell its developers."
        )
        return MISTAKE


def _is_verbose(given: Sequence[str]) -> bool:
    return "-v" in given or "--verbose" in given


def _err(text: str) -> None:
    click.echo(f"databacked: {text}", err=True)
