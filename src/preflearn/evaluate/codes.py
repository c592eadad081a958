"""Ids as small integers that mean the same in every frame of one computation, without a table of them."""

from __future__ import annotations

import polars as pl


class Codes:
    """One numbering of texts, shared by all columns that are encoded with it, forgotten with this object.

    Codes depend on the order in which texts are met: they are names, not an order.
    """

    def __init__(self) -> None:
        self._dtype = pl.Categorical(pl.Categories.random())
        # The numbering lives as long as a series of its type does; codes alone would not keep it.
        self._keep = pl.Series(["\x00"], dtype=pl.String).cast(self._dtype)

    def of(self, column: str) -> pl.Expr:
        """Codes of a column of texts or categories, UInt32; null stays null."""
        return pl.col(column).cast(pl.String).cast(self._dtype).to_physical().cast(pl.UInt32)

    def names(self, codes: pl.Series) -> pl.Series:
        """The texts behind codes."""
        return codes.cat.to(self._keep.dtype).cast(pl.String)
