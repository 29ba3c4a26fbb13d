"""`python -m notes.storage`: is the database's directory there, and can we write to it?

Looks once and says so by its exit status. To look again is the supervisor's work: it knows about
delays, limits and a stop in the middle; a loop with a sleep knows none of them.
"""

import sys
import tempfile

from .database import DATABASE_PATH

# sysexits.h: a temporary failure, the caller is invited to try again.
EX_TEMPFAIL = 75


def main() -> int:
    directory = DATABASE_PATH.parent
    try:
        # A mount that is there but read-only shows only at a write.
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        print(f"notes: storage is not ready: {directory}: {error.strerror}", file=sys.stderr)
        return EX_TEMPFAIL
    print(f"notes: storage is ready: {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
