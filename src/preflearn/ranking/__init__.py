"""Leaderboards: strengths of named items from comparisons, with honest intervals. Loads no torch."""

from preflearn.ranking.board import rank, rank_by, votes_of_codes
from preflearn.ranking.contrast import Contrast, contrast
from preflearn.ranking.leaderboard import Effect, Leaderboard, Standing
from preflearn.ranking.models import MODELS, BradleyTerry, Davidson, Graded, RaoKupper, RatingModel
from preflearn.ranking.saved import load
from preflearn.ranking.votes import Question, Votes, collect_votes

__all__ = [
    "MODELS",
    "BradleyTerry",
    "Contrast",
    "Davidson",
    "Effect",
    "Graded",
    "Leaderboard",
    "Question",
    "RaoKupper",
    "RatingModel",
    "Standing",
    "Votes",
    "collect_votes",
    "contrast",
    "load",
    "rank",
    "rank_by",
    "votes_of_codes",
]
