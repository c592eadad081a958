"""Published models as short compositions of parts; `RECIPES` names them without importing any."""

RECIPES: dict[str, str] = {
    "flips": "preflearn.models.recipes.noisy:flips",
    "helpsteer2": "preflearn.models.recipes.ratings:helpsteer2",
    "implicit_reward": "preflearn.models.recipes.trajectories:implicit_reward",
    "lipo": "preflearn.models.recipes.lists:lipo",
    "listmle": "preflearn.models.recipes.lists:plackett_luce",
    "margin_bt": "preflearn.models.recipes.strength:margin_bt",
    "ordinal": "preflearn.models.recipes.strength:ordinal",
    "partial_return": "preflearn.models.recipes.trajectories:partial_return",
    "plackett_luce": "preflearn.models.recipes.lists:plackett_luce",
    "ranklist": "preflearn.models.recipes.lists:ranklist",
    "rating_regression": "preflearn.models.recipes.ratings:rating_regression",
    "regret": "preflearn.models.recipes.trajectories:regret",
    "reliability": "preflearn.models.recipes.noisy:reliability",
    "scaled_bt": "preflearn.models.recipes.strength:scaled_bt",
    "armorm": "preflearn.models.recipes.gated:armorm",
    "context_aware": "preflearn.models.recipes.gated:context_aware",
    "micro": "preflearn.models.recipes.gated:micro",
    "orchestrator": "preflearn.models.recipes.gated:orchestrator",
    "bradley_terry": "preflearn.models.recipes.bradley_terry:bradley_terry",
}
"""Key -> "module:function"; the function's parameters are the options of the recipe."""
