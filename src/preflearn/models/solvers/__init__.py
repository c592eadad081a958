"""Numerical methods that fittings are made of: they know arrays and losses, no data sets and no parts of models."""
