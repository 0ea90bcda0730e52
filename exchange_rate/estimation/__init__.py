"""The statistics of the exchange rate: points, rates with intervals and verdicts, which metric to trust. No torch, no MLflow, no files."""
