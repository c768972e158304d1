"""How often Python looks for objects that hold each other in a cycle."""

import gc


def look_seldom_for_cycles(after: int = 50_000) -> None:
    """Look only after so many new objects, and never again in those that are there now.

    What a service has made until it serves stays to its end, and what it makes for a request or
    a batch lives to the end of that and is in no cycle: to look through all of it every few
    hundred objects takes a tenth of its time.
    """
    gc.freeze()
    gc.set_threshold(after, 20, 20)
