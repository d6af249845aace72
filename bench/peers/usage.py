"""What a call costs, as bench/algorithms.ts reads it."""

import json
import resource
import time


def measured(call, runs=1):
    """Prints the seconds of each run, the processor's, and the most memory that the process has had, in bytes."""
    seconds, cpu = [], []
    for _ in range(runs):
        start, before = time.perf_counter(), time.process_time()
        call()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # What libraries write without ending the line stays before it.
    print("\n" + json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak}))
