"""Evidence -> everything that a report prints, decided once."""
