"""Surrogates against plain baselines: small data sets, minutes of training, several seeds."""
