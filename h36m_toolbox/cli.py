"""The command line: parses, calls, prints. Whatever a command can do, a function of the library can do without it."""

from __future__ import annotations

import errno
from importlib import import_module
from typing import Any

import click

from h36m_toolbox import __version__
from h36m_toolbox.commands.options import ARGUMENTS
from h36m_toolbox.errors import H36MError

# In the order of the work; each is `command` of the module of its name in h36m_toolbox/commands/.
COMMANDS = (
    "demo",
    "synth",
    "download",
    "extract",
    "crops",
    "labels",
    "detections",
    "stats",
    "pelvis",
    "models",
    "train",
    "bench",
    "challenge",
    "eval",
    "leaderboard",
    "compare",
    "report",
    "protocols",
    "view",
    "doctor",
)


class _Commands(click.Group):
    """Turns what users can put right into one clean line and exit status 1; commands in the order of the work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except H36MError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:  # no room, no permission, a file where a folder should be
            if error.errno == errno.EPIPE or not error.strerror:
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{place}{error.strerror}") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="h36m")
def main() -> None:
    """Prepare Human3.6M and benchmark 3D human pose models on it.

    RAW is the data set as you have it on disk (downloaded archives, unpacked, or h36m-fetch's), DATA the one prepared
    folder. Start with `h36m demo`, which needs neither.
    """


for _name in COMMANDS:
    main.add_command(import_module(f"h36m_toolbox.commands.{_name}").command)
