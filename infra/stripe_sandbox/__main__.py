"""``python -m infra.stripe_sandbox --port N --data FILE``: serves the sandbox until stopped. I/O.

SIGTERM and SIGINT let the requests under way finish and close the file.
"""

import argparse
from pathlib import Path

import uvicorn

from infra.stripe_sandbox.app import make_app


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="infra.stripe_sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--data", type=Path, required=True, help="SQLite file of the state")
    arguments = parser.parse_args()
    uvicorn.run(
        make_app(arguments.data, public_url=f"http://{arguments.host}:{arguments.port}"),
        host=arguments.host,
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
