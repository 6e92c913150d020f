"""The command `rtmkc`: parse, call the public API, print.

Results go to stdout, progress and messages to stderr. Exit codes: 0 fine (no significant factor is fine),
1 an error in data or run, 2 usage, 130 interrupted.
"""

import click

from rtmkc import __version__
from rtmkc.cli.corridors import corridors
from rtmkc.cli.evidence import audit, validate
from rtmkc.cli.frame import Commands
from rtmkc.cli.looking import check, info, init
from rtmkc.cli.places import score
from rtmkc.cli.runs import demo, run


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rtmkc")
def main() -> None:
    """Risk terrain modeling: which places, why, and where next.

    Start with `rtmkc demo`. With your own data: `rtmkc init FOLDER`, then `rtmkc run FOLDER/study.toml -o results`.
    """


for _command in (demo, init, check, run, score, corridors, validate, audit, info):
    main.add_command(_command)
