"""Published models as short compositions of parts; `RECIPES` names them without importing any."""

RECIPES: dict[str, str] = {
    "bradley_terry": "preflearn.models.recipes.bradley_terry:bradley_terry",
}
"""Key -> "module:function"; the function's parameters are the options of the recipe."""
