"""Who writes in a model of a program of one's own, whatever was imported first."""

import subprocess
import sys

import pytest

NO_CHANGE = """
import importlib, os, pkgutil, signal, sys, warnings
import scuttled.models, scuttled.protocol, scuttled.replica, scuttled.runtime, scuttled.storage
import scuttled.library, trio  # the package is there; its files are not

def import_all(package):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)

def state():
    kept = {"forks": len(forks), "warnings": list(warnings.filters), "hook": sys.excepthook}
    kept |= {number: signal.getsignal(number) for number in signal.valid_signals()}
    for name, module in modules.items():
        if name.startswith("scuttled."):
            for word, value in vars(module).items():
                kept[name, word] = id(value)
                if isinstance(value, type):
                    kept |= {(name, word, field): id(it) for field, it in vars(value).items()}
    return kept

forks = []
os.register_at_fork = lambda **kept: forks.append(kept)
for package in ("models", "protocol", "replica", "runtime", "storage"):
    import_all(importlib.import_module(f"scuttled.{package}"))
del sys.modules["scuttled.library"]
modules = dict(sys.modules)
before = state()
import_all(importlib.import_module("scuttled.library"))
after = state()
changed = [what for what in before.keys() | after.keys() if before.get(what) != after.get(what)]
print(changed, "scuttled.library.authors" in sys.modules)
"""


def _run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_to_import_the_library_changes_nothing_anywhere() -> None:
    assert _run(NO_CHANGE) == "[] True"


@pytest.mark.parametrize(
    "imports",
    [
        "from scuttled import Map",
        "import scuttled; Map = scuttled.Map",
        "from scuttled.models.map import Map",
        "from scuttled.replica.scuttlebutt import Scuttlebutt; from scuttled import Map",
        "from scuttled.library.authors import signing_author; from scuttled.models.map import Map",
        "from scuttled.library.replicate import replicate; from scuttled.models.map import Map",
        "from scuttled import StateDirectory; from scuttled.models.map import Map",
        "from scuttled import Map as Base\nclass Map(Base): pass",
    ],
)
def test_a_model_without_an_author_has_one_of_its_own_whatever_was_imported_first(
    imports: str,
) -> None:
    script = f"""{imports}
a, b = Map("m"), Map("m")
a["k"] = 1
print(a["k"], a.id != b.id, a.author.life, a.author.is_guest, a.now_ms() > 10**12)
"""
    assert _run(script) == "1 True 1 True True"


def test_every_author_of_a_process_is_another_one_in_a_process_that_is_forked_off() -> None:
    script = """
import os
from scuttled import Map
models = [Map("a"), Map("b")]
lives = [model.author.life for model in models]
if os.fork() == 0:
    renewed = [model.author.life != life for model, life in zip(models, lives)]
    os.write(1, f"{renewed} {Map('c').author.life}\\n".encode())
    os._exit(0)
os.wait()
print([model.author.life == life for model, life in zip(models, lives)])
"""
    assert _run(script).splitlines() == ["[True, True] 1", "[True, True]"]
