"""Proofs of preference models over content: planted people vote on embedded responses, models are held to the truth.

Accuracies are shares of held-out questions whose predicted side is the truly preferred one of the person who is asked;
no prompt, hence no response, is in training and test.
"""
