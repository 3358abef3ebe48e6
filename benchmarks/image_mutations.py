"""Thousands of damaged image files: each must be read or refused in one bounded, printable sentence, quickly and in little memory.

    python -m benchmarks.image_mutations [--files 4000] [--seed 0]

Prints the counts, the slowest file and the peak memory; exits with code 1 if a file did anything else.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path

from audit.data.images import look_at
from audit.errors import ImageError
from tests import image_encodings as made

SLOW_S = 20.0
LONGEST = 500


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return a file with bytes changed, cut out, put in, or its end missing; headers are hit more often than the rest."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(min(len(found), rng.choice((64, 400, 1200, len(found)))))
        kind = rng.random()
        if kind < 0.5:
            found[at] = rng.choice((0, 1, 255, 127, 128, rng.randrange(256)))
        elif kind < 0.6:
            del found[at : at + rng.randrange(1, 9)]
        elif kind < 0.7:
            found[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind < 0.8:
            found[at : at + 4] = b"\xff\xff\xff\xff"
        elif kind < 0.9:
            del found[max(9, rng.randrange(len(found))) :]
        else:
            found[at : at + 2] = rng.choice((b"\0\0", b"\xff\x7f", b"\0\x80"))
        found = found or bytearray(b"x")
    return bytes(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    cases = [*made.encodings(made.picture()), *(case for _, _, case in made.radiography_encodings())]
    counts: Counter[str] = Counter()
    slowest = (0.0, "")
    for _ in range(options.files):
        case = rng.choice(cases)
        data = mutated(case.data, rng)
        started = time.perf_counter()
        try:
            look_at(data, Path("x"))
            outcome = "read"
        except ImageError as error:
            fine = len(str(error)) <= LONGEST and str(error).isprintable()
            outcome = "refused" if fine else "refused in a message that echoes"
        except Exception as error:  # which is what is looked for
            outcome = f"{type(error).__name__} ({case.name})"
        took = time.perf_counter() - started
        slowest = max(slowest, (took, case.name))
        counts["slow" if took > SLOW_S else outcome] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for outcome, n in counts.most_common():
        print(f"{n:>6}  {outcome}")
    print(f"slowest {slowest[0]:.1f} s ({slowest[1]}), peak {peak:.0f} MB")
    sys.exit(bool(set(counts) - {"read", "refused"}))


if __name__ == "__main__":
    main()
