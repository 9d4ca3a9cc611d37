"""Runs the independent client's tests against a coordinator.

    python tests/interop/run.py --coordinator target/debug/scale-coordinator

Ends with a line in the form of Rust's test runner, which `cargo xtask` counts; exits with 1 if a test fails."""
import argparse
import os
import pathlib
import subprocess
import sys
import time
import unittest

import test_calls
import test_errors
import test_noise
import test_pages
import test_reference
import test_rounds
from coordinator import Coordinator
from enrollment import Identity


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--coordinator", required=True, metavar="PATH", help="the binary scale-coordinator")
    coordinator = Coordinator(arguments.parse_args().coordinator)
    started = time.monotonic()
    try:
        test_calls.Calls.coordinator = test_errors.Errors.coordinator = test_rounds.Rounds.coordinator = coordinator
        load = unittest.defaultTestLoader.loadTestsFromModule
        modules = (test_pages, test_reference, test_noise, test_calls, test_errors, test_rounds)
        suite = unittest.TestSuite(load(module) for module in modules)
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    finally:
        coordinator.stop()
    failed = len(result.failures) + len(result.errors)
    passed = result.testsRun - failed
    word = "ok" if passed and not failed else "FAILED"
    print(f"test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; "
          f"finished in {time.monotonic() - started:.2f}s")
    return 0 if word == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
