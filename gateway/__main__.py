"""``gridgate`` and ``python -m gateway``."""

import os
import sys


def main() -> None:
    """Run the command line. A bug ends with one line and exit code 1, not with a traceback in a user's face."""
    from gateway.cli.main import app

    try:
        app()
    except Exception as bug:
        if os.environ.get("GRIDGATE_TRACEBACK"):
            raise
        sys.stderr.write(
            f"gridgate: internal error: {type(bug).__name__}: {bug}\n"
            "This is a bug. Run again with GRIDGATE_TRACEBACK=1 and report what it prints.\n"
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
