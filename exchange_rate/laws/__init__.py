"""Scaling laws: how a metric or AUC grows with tokens, negatives or history length."""
