"""How tables of scores are judged: segments, the bootstrap, calibration curves, the power table, their pictures."""
