"""The report beside what it is of: among the artifacts of the study's run, its first sentence on the run's own page."""

from pathlib import Path

from exchange_rate.analysis.results import Results
from moon_rec.progress import say
from moon_rec.tracking import Tracker

FOLDER = "report"


def log_report(tracker: Tracker, study: str, folder: Path, found: Results) -> None:
    """Keep the report with the study; a store that cannot take it costs a line, no report."""
    sentences = [one.text for one in found.headline]
    note = "\n\n".join((f"**{sentences[0]}**", *sentences[1:], found.scope))
    tags = {"headline": sentences[0], "verdict": found.rate.verdict}
    why = tracker.add_to(study, folder, FOLDER, tags, note)
    if why:
        say(f"report: it is not kept with the study in {tracker.uri}: {why}")
