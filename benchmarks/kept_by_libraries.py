"""What libraries keep in a process of things that are gone, by these libraries alone: `python -m benchmarks.kept_by_libraries`.

What of it is turned off here, and what is not, stands in docs/guarantees.md.
"""

import gc
import os
import sys
import tempfile

from benchmarks.soak import allocated
from moon_rec.command import Parser, run

WORDS = [f"word{number * 7919 % 3000}" for number in range(3000)]
TIMES, WARM_UP = 20, 5


def tokenizers_kib() -> float:
    """KiB that a BPE tokenizer leaves behind which has read 3,000 words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False)
    learnt.train_from_iterator(WORDS, trainer)
    text, kept = learnt.to_str(), []
    for _ in range(WARM_UP + TIMES):
        Tokenizer.from_str(text).encode_batch(WORDS)
        gc.collect()
        kept.append(allocated())
    return (kept[-1] - kept[-1 - TIMES]) / TIMES / 1024


def mlflow_objects() -> float:
    """Objects of Python's that MLflow keeps of a finished run with a file, up to its 1,025th such run; the median."""
    from statistics import median

    import mlflow

    counts = []
    with tempfile.TemporaryDirectory() as folder:
        client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
        experiment = client.create_experiment("any", artifact_location=folder)
        for _ in range(WARM_UP + TIMES):
            made = client.create_run(experiment).info.run_id
            client.log_text(made, "text", "file.txt")
            client.set_terminated(made)
            gc.collect()
            counts.append(len(gc.get_objects()))
    return median(b - a for a, b in zip(counts[WARM_UP:], counts[WARM_UP + 1 :], strict=False))


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.kept_by_libraries",
        description="What tokenizers and MLflow keep in a process of tokenizers and runs that are gone.",
        example="python -m benchmarks.kept_by_libraries",
    )
    parser.parse_args(argv)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    print(f"tokenizers: {tokenizers_kib():,.0f} KiB a tokenizer that is gone")
    print(f"MLflow: {mlflow_objects():g} objects a finished run with a file")


if __name__ == "__main__":
    sys.exit(run(main))
