"""What doctor says of GPUs, of machines that are not at hand."""

import pytest

from moon_rec import gpu_findings
from moon_rec.gpu_findings import Seen, findings, look

CARD = "NVIDIA H100 80GB HBM3, 79 GiB"
WHOLE = Seen("580.159.04", "13.0", (CARD,), ("fbgemm-gpu",), "", ("faiss-gpu",), 1)
CASES = {
    "no card": (Seen(fbgemm=("fbgemm-gpu-cpu",), faiss=("faiss-cpu",)), {}, {}),
    "all of it": (WHOLE, {}, {}),
    "a CPU build of torch": (
        Seen("580.159.04", "", (), ("fbgemm-gpu-cpu",), "", ("faiss-cpu",)),
        {"GPU: torch": 'install the extra "gpu"'},
        {},
    ),
    "a card that is hidden": (
        Seen("580.159.04", "13.0", (), ("fbgemm-gpu",), "", ("faiss-gpu",)),
        {"GPU: torch": "CUDA_VISIBLE_DEVICES must not hide it"},
        {},
    ),
    "libraries for CPUs": (
        Seen("580.159.04", "13.0", (CARD,), ("fbgemm-gpu-cpu",), "", ("faiss-cpu",)),
        {"GPU: rankers": "train with device=cpu", "GPU: search": "pip install faiss-gpu"},
        {},
    ),
    "fbgemm for another CUDA": (
        Seen("580.159.04", "13.0", (CARD,), ("fbgemm-gpu",), "no kernel", ("faiss-gpu",), 1),
        {},
        {"GPU: rankers": "the fbgemm-gpu that pairs with this torch"},
    ),
    "two builds of each": (
        Seen(fbgemm=("fbgemm-gpu", "fbgemm-gpu-cpu"), faiss=("faiss-cpu", "faiss-gpu")),
        {},
        {"fbgemm": "pip uninstall fbgemm-gpu fbgemm-gpu-cpu", "faiss": "install one of them"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_machine_is_told_what_it_lacks_and_how_to_mend_it(name):
    seen, advised, wrong = CASES[name]
    found = {each.subject: each for each in findings(seen)}
    for wanted, is_wrong in ((advised, False), (wrong, True)):
        told = {subject: each.mend for subject, each in found.items() if each.mend}
        told = {
            subject: mend for subject, mend in told.items() if found[subject].is_wrong == is_wrong
        }
        assert told.keys() == wanted.keys()
        assert all(words in told[subject] for subject, words in wanted.items())


def test_the_driver_and_this_machine_are_read(tmp_path, monkeypatch):
    file = tmp_path / "version"
    file.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  Tue Oct  7 18:22:41 UTC 2026\nGCC version:\n"
    )
    monkeypatch.setattr(gpu_findings, "DRIVER_FILE", file)
    assert look().driver == "580.159.04"
    monkeypatch.setattr(gpu_findings, "DRIVER_FILE", tmp_path / "nothing")
    assert look().driver == "" and not any(each.mend and each.is_wrong for each in findings(look()))
