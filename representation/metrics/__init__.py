"""How good vectors are: search recall, and the other metrics that people steer by."""
