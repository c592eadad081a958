"""Preflearn: one system for learning from preferences.

Importing this module loads nothing heavy: every public name is fetched on first use.

>>> import preflearn as pf
>>> data = pf.simulate.bradley_terry(strengths={"x": 0.5, "y": 0.0}, n_votes=100, seed=1)
>>> board = pf.ranking.BradleyTerry().fit(data).leaderboard()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from preflearn._version import __version__

if TYPE_CHECKING:
    from preflearn import backbones, choice, data, evaluate, ranking, registry, report, simulate
    from preflearn.data import PreferenceData, read, scan
    from preflearn.data.merge import merge

_MODULES = (
    "backbones",
    "choice",
    "data",
    "errors",
    "evaluate",
    "protocols",
    "ranking",
    "registry",
    "report",
    "simulate",
)
_NAMES = {
    "PreferenceData": "preflearn.data",
    "read": "preflearn.data",
    "scan": "preflearn.data",
    "merge": "preflearn.data.merge",
}

__all__ = [
    "PreferenceData",
    "__version__",
    "backbones",
    "choice",
    "data",
    "evaluate",
    "merge",
    "ranking",
    "read",
    "registry",
    "report",
    "scan",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"preflearn.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'preflearn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
