"""Becomes another program that ends when its supervisor does, even if that is killed.

``python -m infra.local.child PARENT_PID USER PROGRAM [ARGUMENT ...]``; an empty USER keeps the
user. Linux sends the signal asked for with prctl(PR_SET_PDEATHSIG) when the parent dies; a
change of user clears that, so it is set after it.
"""

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then run the program in its place."""
    parent, user, *command = sys.argv[1:]
    if user:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(1)  # the parent was gone before the tie held
    os.execv(command[0], command)  # noqa: S606  # the supervisor's own fixed programs


if __name__ == "__main__":
    main()
