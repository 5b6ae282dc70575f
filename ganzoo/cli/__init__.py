"""The command line. Commands are thin: each imports what it needs when it runs, so that ``--help`` costs nothing."""

from __future__ import annotations

import faulthandler
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from ganzoo import __version__
from ganzoo.cli import extend, hub, look, runs
from ganzoo.cli.bench import bench
from ganzoo.cli.measure import measure

#: Letters that a message has.
MOST = 2_000


class Group(click.Group):
    """Commands in the order in which they are written, which is the order in which one meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """A zoo of generative adversarial networks: train, compare, share and load them.

    \b
    ganzoo bench                   train and compare the default suite
    ganzoo train js-gan.ring       train one recipe, METHOD.DATASET
    ganzoo sample runs/js-gan.ring --out samples.png
    ganzoo download ORG/NAME       get a model that somebody published
    """


for command in (
    look.list_,
    look.show,
    runs.train,
    bench,
    runs.sample,
    measure,
    hub.evaluate,
    hub.publish,
    hub.download,
    look.check,
    extend.plugins,
    extend.install,
    extend.uninstall,
    extend.new,
):
    cli.add_command(command)


def main() -> NoReturn:
    """The entry point: ganzoo's own errors are one line; anything else is a bug and says so."""
    with suppress(Exception):  # stderr may be no file
        faulthandler.enable()  # where a plugin crashes the process, it says which
    debug = "--debug" in sys.argv[1:]
    sys.argv = [sys.argv[0], *(["--debug"] if debug else []), *(arg for arg in sys.argv[1:] if arg != "--debug")]
    if hasattr(sys.stdout, "reconfigure"):  # where a letter is not known, a question mark will do
        sys.stdout.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        code: Any = cli(standalone_mode=False, prog_name="ganzoo")
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        if debug:
            raise
        from ganzoo.errors import GanzooError

        if isinstance(error, GanzooError):
            _say(f"ganzoo: {error}")
            sys.exit(error.exit_code)
        if isinstance(error, OSError) and error.filename is not None:
            _say(f"ganzoo: {error.filename}: {error.strerror}")
            sys.exit(1)
        _say(f"ganzoo: {type(error).__name__}: {error} (run again with --debug for the traceback)")
        sys.exit(1)


def _say(text: str) -> None:
    """An error may quote what strangers wrote: not all of a million letters, and nothing that a terminal would obey."""
    text = text if len(text) < MOST else f"{text[: MOST // 2]} … {text[-MOST // 2 :]}"
    click.echo("".join(c if c.isprintable() or c == "\n" else " " for c in text), err=True)


if __name__ == "__main__":
    main()
