"""`preflearn demo`: every rule of the data contract, and what breaks it."""

from __future__ import annotations

from preflearn.cli.options import Data, open_data
from preflearn.cli.say import Document, Say
from preflearn.cli.verb import verb


@verb()
def run(say: Say, data: Data) -> Document:
    """Check a data set against every rule of the data contract."""
    opened = open_data(say, data)
    raise NotImplementedError(opened)
