"""One seed in, independent random streams out."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose of a run, so that changing one stream (more noise, say) leaves the others alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest(), "big") >> 1
