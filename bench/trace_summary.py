#!/usr/bin/env python3
"""What a trace says in numbers, in milliseconds a step: where compute's time goes, how long buckets take, how much of
that runs beside compute, how long compute waits. Beside a trace of one rank (no communication) it tells how much
slower the same kernels are while communication runs.

  lockstep train CONFIG --run-dir one --set run.trace_steps=5
  mpirun -n 2 lockstep train CONFIG --run-dir two --set run.trace_steps=5
  bench/trace_summary.py two/trace/rank-0.json --beside one/trace/rank-0.json
"""
import argparse
import json
import pathlib
import statistics


def steps_of(path):
    """Step -> spans (name, track, begin, end in ms), without the first step: its buffers and caches are cold."""
    spans = [event for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"]
    steps = {}
    for span in spans:
        begin = span["ts"] / 1e3
        steps.setdefault(span["args"]["step"], []).append((span["name"], span["cat"], begin, begin + span["dur"] / 1e3))
    first = min(steps)
    return {step: found for step, found in steps.items() if step != first or len(steps) == 1}


def kind_of(name):
    """"backward stage1.conv1 (conv2d)" -> "backward conv2d"; what is no kernel keeps its name."""
    words = name.split()
    if words[0] in ("forward", "backward"):
        return f"{words[0]} {words[-1].strip('()')}"
    return "buckets" if words[0] == "bucket" else name


def union(spans):
    """Disjoint intervals that cover what the spans cover."""
    merged = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return merged


def length(spans):
    return sum(end - begin for begin, end in union(spans))


def summarise(spans):
    """Kind -> ms in one step, and what follows from when they were."""
    kinds = {}
    for name, _, begin, end in spans:
        kinds[kind_of(name)] = kinds.get(kind_of(name), 0) + end - begin
    kernels = [(b, e) for name, track, b, e in spans if track == "compute" and name not in ("wait for sums", "feed")]
    buckets = [(b, e) for name, _, b, e in spans if name.startswith("bucket")]
    both = length(kernels) + length(buckets) - length(kernels + buckets)
    return kinds, {"kernels": length(kernels), "communication": length(buckets), "beside kernels": both,
                   "compute waits": kinds.get("wait for sums", 0.0)}


def medians(path):
    """The same, medians over the steps of a trace."""
    found = [summarise(spans) for spans in steps_of(path).values()]

    def median(which):
        keys = {key: None for each in found for key in each[which]}
        return {key: statistics.median(each[which].get(key, 0.0) for each in found) for key in keys}

    return median(0), median(1), len(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=pathlib.Path)
    parser.add_argument("--beside", type=pathlib.Path, help="trace of one rank with as many samples a rank")
    arguments = parser.parse_args()
    kinds, totals, steps = medians(arguments.trace)
    other = medians(arguments.beside) if arguments.beside else None
    print(f"{arguments.trace}: medians of {steps} steps, ms")
    for table, beside in ((kinds, other and other[0]), (totals, other and other[1])):
        print()
        for name, ms in sorted(table.items(), key=lambda item: -item[1]) if table is kinds else table.items():
            alone = f"  {beside[name]:9.3f} alone" if beside and beside.get(name, 0) > 0.01 else ""
            slower = f"  {100 * (ms / beside[name] - 1):+6.1f} %" if alone else ""
            print(f"  {name:44} {ms:9.3f}{alone}{slower}")


if __name__ == "__main__":
    main()
