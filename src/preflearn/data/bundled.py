"""The sample that comes with the package: answers of a small model, judged by a simulated panel of known tastes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from preflearn.data.store import load
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError


def sample_path() -> Path:
    """The data-set directory of the bundled sample; its planted truth lies in `truth/`.

    Raises:
        InputError: the package was installed without its data.
    """
    path = Path(str(files("preflearn.data"))) / "sample"
    if not path.is_dir():
        raise InputError(
            "the bundled sample is missing from this installation.", path=path, cure="Reinstall preflearn."
        )
    return path


def sample() -> PreferenceData:
    """The bundled sample. Its annotators are simulated (`annotators.kind`): nothing in it says what people prefer."""
    return load(sample_path())
