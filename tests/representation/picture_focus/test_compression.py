"""Where the slots of compression are, what enters there and what is read there; what sees what."""

import torch

from representation.model.backbone import Embedded, attention_mask
from representation.picture_focus import Compression, CompressionConfig
from representation.picture_focus.compression import Places

# prompt, start, picture, picture, end, <IMG_EMB>, word, <NOTE_EMB>; a text alone; a picture alone
IS_PICTURE = torch.tensor([[0, 0, 1, 1, 0, 0, 0, 0], [0] * 8, [0, 1, 1, 0, 0, 0, 0, 0]]).bool()
LENGTHS = (8, 4, 6)
MASK = torch.arange(8)[None] < torch.tensor(LENGTHS)[:, None]
PLACES = Places.of(IS_PICTURE, MASK)


def test_slots_are_behind_the_picture_and_at_the_end():
    assert PLACES.image.tolist() == [5, -1, 4]
    assert PLACES.last.tolist() == [7, 3, 5]
    assert PLACES.num_before.tolist() == [6, 0, 5]


def test_embeddings_of_slots_enter_there_and_nowhere_else():
    states = torch.randn(3, 8, 2)
    for note in ("token", "pooled"):
        part = Compression(2, CompressionConfig(note=note))
        part.tokens.data.copy_(torch.tensor([[7.0, 8.0], [9.0, 9.0]])[: len(part.tokens)])
        wanted = states.clone()
        for row in range(3):
            if PLACES.image[row] >= 0:
                wanted[row, PLACES.image[row]] = torch.tensor([7.0, 8.0])
            if note == "token":
                wanted[row, PLACES.last[row]] = torch.tensor([9.0, 9.0])
        assert torch.equal(part.enter(states, PLACES), wanted)


def test_a_row_without_a_picture_has_the_vector_of_its_words_as_its_pictures():
    part, states = Compression(2, CompressionConfig()), torch.randn(3, 8, 2)
    otherwise = torch.randn(3, 2)
    found = part.image_states(states, PLACES, otherwise)
    assert torch.equal(found, torch.stack([states[0, 5], otherwise[1], states[2, 4]]))


def test_the_picture_sees_no_words_and_the_words_see_all():
    for causal in (False, True):
        given = Embedded(torch.zeros(3, 8, 1), MASK, num_before=PLACES.num_before)
        found = attention_mask(MASK, causal, given)[:, 0] == 0
        for row in range(3):
            end = int(PLACES.num_before[row])
            for one in range(8):
                for other in range(8):
                    wanted = other < LENGTHS[row] and not (one < end <= other)
                    wanted = wanted and (not causal or other <= one)
                    assert found[row, one, other] == wanted, (row, one, other)
