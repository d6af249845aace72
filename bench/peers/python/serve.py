"""How a library that lowbit is measured beside answers: requests come as JSON, one a line, and so do the replies.

    {"call": "versions"}                  names and versions of what computes
    {"call": "prepare", "work": {…}}      makes a piece of work (bench/peers/works.ts); what computes it, and the bytes of its weights
    {"call": "time", "ms": 300}           milliseconds of one call: the least of so many milliseconds of calls
"""
import importlib.metadata
import json
import sys
import time


class Prepared:
    """`calls` products, which `run` computes one after the other; `what` names the kernel, `bytes` are those of one weight."""

    def __init__(self, what, bytes, run, calls=1):
        self.what, self.bytes, self.run, self.calls = what, bytes, run, calls


def least(prepared, ms):
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < ms / 1000:
        start = time.perf_counter()
        prepared.run()
        best = min(best, time.perf_counter() - start)
    return 1000 * best / prepared.calls


def answer_requests(answer):
    """Answers each request with what `answer(request)` gives, until its input ends."""
    for line in sys.stdin:
        try:
            reply = {"result": answer(json.loads(line))}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


def serve(libraries, make):
    """Answers with what `make(work)` prepares until its input ends."""
    prepared = None

    def answer(request):
        nonlocal prepared
        if request["call"] == "versions":
            return " ".join(f"{name} {importlib.metadata.version(name).split('+')[0]}" for name in libraries)
        if request["call"] == "time":
            return least(prepared, request["ms"])
        prepared = None
        prepared = make(request["work"])
        prepared.run()
        return {"what": prepared.what, "bytes": prepared.bytes}

    answer_requests(answer)
