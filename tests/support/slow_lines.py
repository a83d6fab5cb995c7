"""Feeds standard input to a command, spread over some seconds: `python -m` this `--seconds S -- COMMAND ...`."""

import subprocess
import sys
import time

SLICES = 40


def main() -> int:
    seconds, command = float(sys.argv[2]), sys.argv[4:]
    lines = sys.stdin.buffer.readlines()
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    size = -(-len(lines) // SLICES)
    for start in range(0, len(lines), size):
        process.stdin.writelines(lines[start : start + size])
        process.stdin.flush()
        time.sleep(seconds / SLICES)
    process.stdin.close()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
