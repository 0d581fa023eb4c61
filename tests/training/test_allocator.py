"""Big blocks that are freed and used again.

Of blocks below 64 MiB glibc by itself keeps some, by luck and more with time; larger ones it gives
back whenever they are freed.
"""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from compress.training.allocator import keep_pages
if sys.argv[1] == "kept":
    assert keep_pages()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    blocks = [torch.ones(mib, 2**18) for mib in (96, 80)]
    blocks = [block * 2 for block in blocks]
for _ in range(3):
    step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


def faults(how: str) -> int:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return int(ended.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's allocator")
def test_kept_pages_are_not_faulted_in_again() -> None:
    assert faults("kept") * 3 < faults("given back")
