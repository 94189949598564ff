"""What tests of many processes share: words with the time, and waiting for what has to come."""

import sys
import time


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def expect(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}")


def wait_for(what, condition, seconds=180):
    """Something that has to come; the limit is only there so that a broken test ends."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    sys.exit(f"FAILED: {what} did not come in {seconds} s")
