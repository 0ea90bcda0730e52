"""Damage to the bytes of a file, drawn by a generator: what careless copying, old versions and ill will do to files of every kind."""

import json
import random
from collections.abc import Callable
from typing import Any

TOKENS = (
    b"\x00", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"NaN", b"Infinity", b"-1", b"0", b"null", b"true", b"[]", b"{}", b'""', b"1e999", b"9" * 40, b"../../x", b"/etc/passwd",
    b"\x1b[31m", b"[red]", b"<script>", b"\xe2\x80\xae", b"\n", b"\r\n", b",", b'"', b"'", b"=", b"%s%n", b"\x80\x04", b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd",
    (2**31 - 1).to_bytes(4, "little"), (2**32 - 1).to_bytes(4, "little"), (2**62).to_bytes(8, "little"), (2**63).to_bytes(8, "little"), (2**24).to_bytes(4, "big"),
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**53, 2**63, 10**40, 0.5, -1e300, "", "../../x", "/etc/passwd", "x" * 300, "[red]x", "\x1b[2J", "\u202egnp", [], {}, [[]], [1, "a"], {"a": {}},
)  # fmt: skip
"""Put where another value stood."""


def damaged(data: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four things wrong."""
    is_json = data.lstrip()[:1] in (b"{", b"[")
    if is_json and draw.random() < 0.7:
        try:
            return _other_json(data, draw)
        except (ValueError, RecursionError):
            pass
    if data[8:9] == b"{" and draw.random() < 0.6:
        return _other_header(data, draw)
    for _ in range(draw.choice((1, 1, 2, 4))):
        data = draw.choice(_WAYS)(data, draw)
    return data


def _place(data: bytes, draw: random.Random) -> int:
    """Anywhere; often near an end, where headers and footers are."""
    if not data:
        return 0
    at = draw.randrange(len(data))
    near = draw.random()
    return min(at, draw.randrange(256)) % len(data) if near < 0.3 else (max(0, len(data) - 1 - draw.randrange(256)) if near < 0.6 else at)  # fmt: skip


def _flip(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]


def _token(data: bytes, draw: random.Random) -> bytes:
    at, token = _place(data, draw), draw.choice(TOKENS)
    return data[:at] + token + data[at + draw.choice((0, len(token))) :]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: _place(data, draw)]


def _drop(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + data[at + draw.choice((1, 2, 8, 64)) :]


def _double(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    length = draw.choice((1, 4, 16, 256))
    return data[:at] + data[at : at + length] * draw.choice((2, 3, 50)) + data[at + length :]


def _zeros(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    length = draw.choice((1, 4, 8, 100))
    return data[:at] + b"\x00" * min(length, len(data) - at) + data[at + length :]


def _swap(data: bytes, draw: random.Random) -> bytes:
    first, second = sorted((_place(data, draw), _place(data, draw)))
    return data[second:] + data[first:second] + data[:first]


_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _flip, _flip, _token, _token, _cut, _drop, _double, _zeros, _swap)  # fmt: skip


def _other_json(data: bytes, draw: random.Random) -> bytes:
    """Another value at a place of the tree, a name away, a name more, or a nest."""
    value = json.loads(data)
    for _ in range(draw.choice((1, 1, 2))):
        value = _changed(value, draw)
    return json.dumps(value).encode()


def _changed(value: Any, draw: random.Random, depth: int = 0) -> Any:
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(list(value))
        way = draw.random()
        if way < 0.1:
            return {key: one for key, one in value.items() if key != name}
        if way < 0.15:
            return {**value, draw.choice(("__class__", "auto_map", "x", "", "../x", "transformers_weights", "quantization_config")): draw.choice(VALUES)}  # fmt: skip
        return {**value, name: _changed(value[name], draw, depth + 1)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = draw.randrange(len(value))
        if draw.random() < 0.2:
            return value[:at] + value[at + 1 :]
        return [*value[:at], _changed(value[at], draw, depth + 1), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and draw.random() < 0.6:
        return draw.choice((value + 1, value - 1, value * 2, value * 1_000, value * 10**6, -value, float(value), str(value)))  # fmt: skip
    return draw.choice(VALUES)


def _other_header(data: bytes, draw: random.Random) -> bytes:
    """A safetensors file with another header, its length made to fit."""
    length = int.from_bytes(data[:8], "little")
    try:
        text = _other_json(data[8 : 8 + length], draw)
    except (ValueError, RecursionError):
        return _flip(data, draw)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
