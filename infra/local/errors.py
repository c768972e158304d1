"""What can go wrong with the embedded stack, in words that say what to do. Pure."""

from pathlib import Path

from shared.errors import UnavailableError


class StackError(UnavailableError):
    """The embedded stack cannot be had as asked."""

    code = "stack_error"


class PortTakenError(StackError):
    """Something else listens where a part of the stack should."""

    def __init__(self, port: int, part: str, holder: str | None) -> None:
        self.port = port
        self.part = part
        self.holder = holder
        by = f" by {holder}" if holder else ""
        super().__init__(
            f"port {port}, wanted for {part}, is in use{by}; stop that, or choose another"
            " --port-base (without it, free ports are found)"
        )


class DirectoryInUseError(StackError):
    """Another stack runs on the same data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(
            f"another tallybook runs on {directory}; stop it, or choose another --data"
        )


class ChildDiedError(StackError):
    """A part of the stack ended by itself."""

    def __init__(self, name: str, status: int | None, log: Path, last_lines: str) -> None:
        self.name = name
        self.ended_with = status
        self.log = log
        what = "did not become ready in time" if status is None else f"ended with status {status}"
        super().__init__(f"{name} {what}; its log is {log}, and ends with: {last_lines}")


class JarError(StackError):
    """A jar of Kafka cannot be had, or is not the one that is pinned."""
