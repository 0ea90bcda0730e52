"""Runs in MLflow that never cost a training: a journal on disk first, sent when the store answers."""

from moon_rec.addresses import shown_uri, without_secrets
from moon_rec.tracking.address import DEFAULT_URI
from moon_rec.tracking.names import plain_metric_name
from moon_rec.tracking.run import TrackedRun
from moon_rec.tracking.tracker import Tracker

__all__ = [
    "DEFAULT_URI",
    "TrackedRun",
    "Tracker",
    "plain_metric_name",
    "shown_uri",
    "without_secrets",
]
