"""The front door: `python -m moon_rec {demo,shop,track,verify,doctor}` and `moon-rec`. The one module that may import upwards."""

import importlib
import sys

from moon_rec.command import run

# Word -> (module with main(argv), what it does). Modules load when their word is used, so `--help` is quick.
COMMANDS = {
    "demo": ("exchange_rate.demo", "the whole chain on a simulated shop, with a report"),
    "shop": ("moon_rec.shop.commands", "simulate, import, check or describe a shop"),
    "track": ("moon_rec.tracking.commands", "send runs that MLflow has not received, or list them"),
    "verify": (
        "exchange_rate.verify",
        "check a folder that someone else made: complete, unchanged, safe to read",
    ),
    "doctor": ("moon_rec.doctor", "check that the installed packages work together"),
}
STAGES = """\
python -m representation.recipes      the systems of the MOON family, how faithful each part is
python -m representation.pretrain     stage 1: next-token prediction on product questions
python -m representation.posttrain    stage 2: contrastive, on what users searched and purchased
python -m representation.reason       attributes written before the vector, by rewards and by contrast
python -m representation.write        those attributes of a whole catalogue, once, to embed behind
python -m representation.locked       frozen towers of texts and pictures, with projections to train
python -m representation.core_region  where the product is on each picture, as a column of the shop
python -m representation.merge        encoders trained from the same one become one, by their weights
python -m representation.curate       which positive pairs are worth training on, and why
python -m representation.augment      products described and shown in further ways, for training alone
python -m representation.embed        a whole catalogue and its searches -> embedding tables
python -m representation.recall       image-, text- and mixed-search recall of those tables
python -m representation.bring        vectors made elsewhere -> an embedding table
python -m representation.benchmark    retrieval, classification, collapse: encoders side by side
python -m representation.look         what an encoder finds, and where in a picture it looks
python -m ranking.train               stage 3: a CTR model over frozen embeddings
python -m ranking.evaluate            AUC, GAUC, losses, calibration; warm, cold, any segment
python -m ranking.compare             two rankers, paired, over users and seeds; power table
python -m ranking.ways                every way of using frozen vectors beside ids only
python -m ranking.score               impressions of any number -> click probabilities
python -m ranking.handover            tables and vectors for FuxiCTR and TorchEasyRec
python -m exchange_rate.study         many encoders, many seeds, tracked in MLflow
python -m exchange_rate.log           a run of your own CTR model joins a study in MLflow
python -m exchange_rate.report        what recall brings in AUC: HTML, Markdown, JSON, figures
python -m exchange_rate.laws          how a metric grows with tokens, negatives, history: a law or why none"""


def usage() -> str:
    """What `--help` prints."""
    lines = [f"  {word:<8}{about}" for word, (_, about) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m moon_rec COMMAND ... (COMMAND --help tells more)",
            "",
            *lines,
            "",
            "the stages:",
            *(f"  {line}" for line in STAGES.splitlines()),
            "",
            "example:",
            "  python -m moon_rec demo --out runs/demo",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Hand the words after the first to that command; the exit code is its own."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0
    if words[0] not in COMMANDS:
        print(
            f"error: no command {words[0]!r}; there are {', '.join(COMMANDS)} (see: python -m moon_rec --help)",
            file=sys.stderr,
        )
        return 2
    module = importlib.import_module(COMMANDS[words[0]][0])
    called = ["python", "-m", "moon_rec", *words] if argv is not None else None
    return run(module.main, words[1:], called, is_process=argv is None)


def entry() -> None:
    """The console script `moon-rec`."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
