"""Descriptors: as many as the named maxima add up to, where the machine allows it.

Each connection is one. The soft limit that a process is given is often 1,024, for the sake of
programs that use select(); a program that does not may raise it up to the hard one.
"""

import resource


def raise_limit(wanted: int) -> int:
    """Have the soft limit be at least that many, if the hard one allows; how many there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    best = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (best, hard))
    except (OSError, ValueError):
        return soft
    return best
