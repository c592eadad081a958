"""Judging the judges: how well models predict people, and what a data set holds. Sees only protocols, never a model."""

from preflearn.evaluate.description import Description, describe
from preflearn.evaluate.figures import Figure
from preflearn.evaluate.scores import Scores
from preflearn.evaluate.scoring import score

__all__ = ["Description", "Figure", "Scores", "describe", "score"]
