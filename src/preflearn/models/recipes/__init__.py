"""Published models as short compositions of parts; `RECIPES` names them without importing any."""

RECIPES: dict[str, str] = {
    "armorm": "preflearn.models.recipes.gated:armorm",
    "context_aware": "preflearn.models.recipes.gated:context_aware",
    "micro": "preflearn.models.recipes.gated:micro",
    "orchestrator": "preflearn.models.recipes.gated:orchestrator",
    "bradley_terry": "preflearn.models.recipes.bradley_terry:bradley_terry",
}
"""Key -> "module:function"; the function's parameters are the options of the recipe."""
