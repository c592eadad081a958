"""Public formats in the order in which they are tried: the particular before the general, plain tables last."""

from __future__ import annotations

from preflearn.data.io.base import Format
from preflearn.data.io.formats.arena import ARENA, ARENA_55K
from preflearn.data.io.formats.helpsteer import HELPSTEER, HELPSTEER_PREFERENCE
from preflearn.data.io.formats.hh import HH
from preflearn.data.io.formats.prism import PRISM
from preflearn.data.io.formats.rewardbench import REWARDBENCH, REWARDBENCH_2
from preflearn.data.io.formats.trl import TRL_PREFERENCE, TRL_UNPAIRED
from preflearn.data.io.formats.ultrafeedback import ULTRAFEEDBACK
from preflearn.data.io.plain import PLAIN

FORMATS: tuple[Format, ...] = (
    PRISM,
    REWARDBENCH_2,
    REWARDBENCH,
    ULTRAFEEDBACK,
    HELPSTEER_PREFERENCE,
    HELPSTEER,
    ARENA_55K,
    ARENA,
    HH,
    TRL_PREFERENCE,
    TRL_UNPAIRED,
    PLAIN,
)
