"""Preference models on real data: held-out figures of every recipe that applies, beside Bradley-Terry on the same rows.

`python -m preflearn.experiments.real [--only SET]` writes `docs/real_data.json` and `docs/real_data.md`.
"""
