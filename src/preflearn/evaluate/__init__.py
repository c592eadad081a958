"""Judging the judges: how well models predict people, and what a data set holds. Sees only protocols, never a model."""

from preflearn.evaluate.comparing import compare
from preflearn.evaluate.comparison import Comparison
from preflearn.evaluate.curves import AnnotatorCurve, new_annotator_curve
from preflearn.evaluate.default_split import HeldOutComparison, compare_held_out
from preflearn.evaluate.description import Description, describe
from preflearn.evaluate.figures import Figure
from preflearn.evaluate.refits import RefitCurve, budget_curve, flip_curve, flipped
from preflearn.evaluate.scores import Scores
from preflearn.evaluate.scoring import score
from preflearn.evaluate.temperature import with_temperature

__all__ = [
    "AnnotatorCurve",
    "Comparison",
    "Description",
    "Figure",
    "HeldOutComparison",
    "RefitCurve",
    "Scores",
    "budget_curve",
    "compare",
    "compare_held_out",
    "describe",
    "flip_curve",
    "flipped",
    "new_annotator_curve",
    "score",
    "with_temperature",
]
