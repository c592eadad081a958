"""Numbers that options of parts may be: `parts.check_part` holds every option to the bounds of its annotation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
"""How many of something there are, at least one."""
Whole = Annotated[int, Field(ge=0)]
"""How often, where never is meant too."""
Widths = tuple[Count, ...]
"""Widths of hidden layers."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
"""Of a whole, from nothing to all of it."""
Discount = Annotated[float, Field(gt=0, le=1)]
Minority = Annotated[float, Field(ge=0, lt=0.5)]
"""A share of wrong labels: from one half on, labels would mean the opposite or nothing."""
