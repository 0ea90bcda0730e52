"""A tracking store for tests of commands."""

from contextlib import contextmanager


class KeepingStore:
    """Stands in for `Tracker`, whose own tests open real stores: keeps what it is told."""

    def __init__(self):
        self.metrics, self.artifacts = {}, []

    def __call__(self, uri):
        self.uri = uri
        return self

    @contextmanager
    def run(self, name, kind, params, reads, tags=None):
        self.name, self.kind, self.params, self.reads = name, kind, params, reads
        self.tags = tags
        yield self

    def log(self, metrics, step):
        self.metrics |= metrics

    def artifact(self, path):
        self.artifacts.append(path.name)
