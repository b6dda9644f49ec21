"""What all doors have in common: a corpus, how its inputs are changed, and how they are tried.

An input is bytes, whatever is behind the door, and all chance in trying it comes from these very
bytes: so an input that fails, fails again. The corpus of a door is a directory of small files;
`collect.py` made them from a real cluster, and what once failed lies there too (`found-*`).

By default each door takes as many examples as fit in some seconds. For longer runs

    SCUTTLED_FUZZ=20000 python -m pytest tests/fuzz          so many for each door
    SCUTTLED_FUZZ_SEED=7 SCUTTLED_FUZZ=1 ...                 the one with that seed
    python tests/fuzz/hunt.py link --for 600                 guided by coverage, which it reports
"""

import os
import random
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from types import FrameType
from zlib import crc32

from support.mutate import Mutator

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
EXAMPLES = int(os.environ.get("SCUTTLED_FUZZ", "0"))  # 0: each door's own number
FIRST = int(os.environ.get("SCUTTLED_FUZZ_SEED", "0"))
CPU_S = 10.0  # for one input; they take milliseconds. Of this process, however busy the machine


class Hang(BaseException):
    """An input took far too long. Not an Exception: nobody is to take it for a bug of others."""


@contextmanager
def limited_cpu() -> Iterator[None]:
    """Raises Hang."""

    def give_up(_: int, frame: FrameType | None) -> None:
        raise Hang(f"an input took more than {CPU_S} s of CPU time")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def check_words(words: str, *, most: int, any_of: tuple[str, ...] = ("",)) -> None:
    """An error's words are no essay, and tell where."""
    assert len(words) < most, f"an error of {len(words)} characters"
    assert any(word in words for word in any_of), words


class Door(ABC):
    """A place where bytes of others come in."""

    name: str
    rooms: tuple[str, ...] = ()  # whose lines count as coverage, below scuttled/

    @abstractmethod
    def mutated(self, m: Mutator, data: bytes, corpus: list[bytes]) -> bytes:
        """Something like one of the corpus, but not quite."""

    @abstractmethod
    def take(self, data: bytes, rng: random.Random) -> None:
        """Let it in. Raises whatever should not be; what may be, it looks at itself."""

    def corpus(self) -> list[bytes]:
        files = sorted((CORPUS / self.name).iterdir())
        assert files, f"no corpus for {self.name}: run tests/fuzz/collect.py"
        return [file.read_bytes() for file in files]

    def try_(self, data: bytes) -> None:
        """As `take`; an input that fails is kept in a file, which the error names."""
        try:
            with limited_cpu():
                self.take(data, random.Random(crc32(data)))
        except BaseException as error:
            digest = blake2b(data, digest_size=6).hexdigest()
            path = Path(tempfile.gettempdir()) / f"scuttled-{self.name}-found-{digest}"
            path.write_bytes(data)
            error.add_note(f"the input is in {path}: tests/fuzz/hunt.py {self.name} {path}")
            raise

    def fuzz(self, usual: int) -> None:
        """The corpus as it is, then what becomes of it under so many seeds."""
        corpus = self.corpus()
        if not EXAMPLES:
            for data in corpus:
                self.try_(data)
        for seed in range(FIRST, FIRST + (EXAMPLES or usual)):
            rng = random.Random(seed)
            data = self.mutated(Mutator(rng), rng.choice(corpus), corpus)
            try:
                self.try_(data)
            except BaseException as error:
                error.add_note(f"door {self.name}, seed {seed} (SCUTTLED_FUZZ_SEED)")
                raise
