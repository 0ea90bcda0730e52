"""One of two processes that share a store of decoded pictures; prints what it decoded itself and what it sees."""

import hashlib

import numpy as np
import torch.distributed as dist

from representation.training import picture_store
from representation.training.distributed import processes, rank
from representation.training.picture_store import PictureStore
from tests.representation.conftest import COLOURS, SHAPES, picture

FILES = [picture(colour, shape, 1) for colour in COLOURS for shape in SHAPES]


def main() -> None:
    """Decode all but the last ahead, then let the second process need the last first."""
    decoded: list[str] = []
    decode = picture_store.decode

    def noting(data, where):
        decoded.append(where)
        return decode(data, where=where)

    picture_store.decode = noting
    with processes():
        store = PictureStore(FILES, [str(row) for row in range(len(FILES))], 16)
        assert store.is_shared
        store.decode_ahead(np.arange(len(FILES) - 1), "pictures")
        ahead = len(decoded)
        for turn in (1, 0):
            if rank() == turn:
                store.take([len(FILES) - 1])
            dist.barrier()
        seen = store.take(np.arange(len(FILES)))
        print(rank(), ahead, len(decoded), hashlib.sha256(seen.tobytes()).hexdigest(), flush=True)


if __name__ == "__main__":
    main()
