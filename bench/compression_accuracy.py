#!/usr/bin/env python3
"""What compressors cost in accuracy: trains two small recipes with every compressor at its defaults, several
seeds each, beside exact sums, and prints a table in Markdown.

  lockstep data import idx  --input FASHION_MNIST --output fashion.h5
  lockstep data import text --input shakespeare.txt --output shakespeare.h5
  bench/compression_accuracy.py --program build/release/lockstep --fashion fashion.h5 --text shakespeare.h5 --folder DIR

Finished runs (DIR/RECIPE/LABEL/seed-N/summary.json) are kept, so a stopped matrix goes on where it was; --table
prints what is there. Seeds are the outer loop: a stopped matrix is fair to all. On a machine of many cores --jobs
trains several at once, each on cores of its own. To try other settings of one compressor:
--only topk --label topk-5 --set compress.topk.density=0.05. Steps of 0 take a recipe whole, as it is.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import queue
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Against exact sums with the recipe's optimizer.
PLAIN = ["bf16", "fp16", "int8", "int4", "qsgd", "natural", "ef_sign", "topk", "shared_topk", "random_k", "powersgd",
         "shared_grid", "sign_vote"]


def cnn(steps):
    """configs/fashion_cnn.yaml with its schedule scaled to the budget; a tenth of the steps is warm-up."""
    adam = ["optimizer.name=adamw", "rate.peak=3e-3"]
    return {
        "config": "configs/fashion_cnn.yaml",
        "settings": ["train.epochs=0", f"train.steps={steps}", f"rate.warmup_steps={steps // 10}"] if steps else [],
        "metric": lambda summary: 100 * summary["eval"]["accuracy"],
        "unit": "accuracy %",
        "own": {"dgc": ([], "none"), "none_adamw": (adam, None),
                "onebit_adam": (["optimizer.name=onebit_adam", "rate.peak=3e-3"], "none_adamw")},
    }


def gpt(steps):
    """configs/shakespeare_char_gpt.yaml, 2 layers of width 64, with its schedule scaled to the budget."""
    # What DGC gives back has momentum in it: the recipe's clipping would cut that, not a gradient.
    sgd = ["optimizer.name=sgd", "rate.peak=0.3", "optimizer.sgd.nesterov=true", "train.clip_norm=0"]
    return {
        "config": "configs/shakespeare_char_gpt.yaml",
        "settings": ["model.gpt2.layers=2", "model.gpt2.width=64", f"train.steps={steps}",
                     f"rate.warmup_steps={steps // 10}"] if steps else [],
        "metric": lambda summary: summary["eval"]["loss"],
        "unit": "validation loss",
        "own": {"onebit_adam": (["optimizer.name=onebit_adam", "optimizer.onebit_adam.beta2=0.99",
                                 "optimizer.onebit_adam.weight_decay=0.1"], "none"),
                "none_sgd": (sgd, None), "dgc": (sgd, "none_sgd")},
    }


def variants(recipe):
    """Label -> (settings, label of what it is compared with)."""
    table = {"none": ([], None)}
    table.update({name: ([f"compress.name={name}"], "none") for name in PLAIN})
    for label, (settings, against) in recipe["own"].items():
        name = "none" if label.startswith("none") else label
        table[label] = ([*settings, f"compress.name={name}"], against)
    return table


def done(folder):
    try:
        summary = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError):
        return None
    if summary.get("status") != "done":
        return None
    summary["wire"] = least_wire_bytes(folder / "metrics.jsonl")
    return summary


def least_wire_bytes(metrics):
    """Of a logged step: after warm-ups, and without what telemetry samples."""
    steps = (json.loads(line) for line in metrics.read_text().splitlines())
    return min(step["wire_bytes"] for step in steps if step["event"] == "step")


def train(arguments, recipe, data, settings, seed, folder, cores):
    """One run of `ranks` ranks with one thread each, on `cores` ("" for any); its summary."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = [*recipe["settings"], f"data.files=[{data}]", f"run.seed={seed}", "eval.every_steps=0",
                "checkpoint.best=false", *settings, *arguments.set]
    command = ["taskset", "-c", cores] if cores else []
    command += ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(arguments.ranks), str(arguments.program),
                "train", str(ROOT / recipe["config"]), "--run-dir", str(folder)]
    for setting in settings:
        command += ["--set", setting]
    with open(folder / "output.txt", "w") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT,
                              env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
    summary = done(folder)
    if code != 0 or summary is None:
        print(f"{folder}: exit code {code}, see output.txt", file=sys.stderr)
    return summary


def train_all(arguments, waiting):
    """The runs (arguments of `train` but the cores), --jobs of them at a time; how many failed."""
    cores = sorted(os.sched_getaffinity(0))
    if arguments.jobs > 1 and arguments.jobs * arguments.ranks > len(cores):
        sys.exit(f"--jobs {arguments.jobs} with {arguments.ranks} ranks each needs more than the {len(cores)} cores here")
    free = queue.Queue()
    for job in range(arguments.jobs):
        own = cores[job * arguments.ranks:(job + 1) * arguments.ranks] if arguments.jobs > 1 else []
        free.put(",".join(map(str, own)))

    def train_one(run):
        cores = free.get()
        try:
            return train(arguments, *run, cores)
        finally:
            free.put(cores)

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        return sum(summary is None for summary in pool.map(train_one, waiting))


def row(recipe, label, against, runs, others):
    """One line of the table; differences are between runs of the same seed."""
    values = [recipe["metric"](run) for run in runs.values()]
    paired = [recipe["metric"](runs[seed]) - recipe["metric"](others[seed]) for seed in runs if seed in others]
    spread = f"{statistics.stdev(values):.3f}" if len(values) > 1 else ""
    difference = f"{statistics.mean(paired):+.3f}" if against and paired else ""
    wire = statistics.mean(run["wire"] for run in runs.values())
    time = statistics.median(run["step_ms"]["median"] for run in runs.values())
    return (f"| {label} | {statistics.mean(values):.3f} | {spread} | {difference} | {len(values)} | {wire:.0f} |"
            f" {time:.1f} |")


def print_table(name, recipe, folder, seeds):
    """Whatever is finished in `folder`, labels of own trials too."""
    known = variants(recipe)
    labels = [*known, *sorted(each.name for each in folder.glob("*") if each.name not in known)]
    found = {label: {seed: run for seed in seeds if (run := done(folder / label / f"seed-{seed}"))}
             for label in labels}
    print(f"\n{name}: {' '.join(recipe['settings'])}\n")
    print(f"| compressor | {recipe['unit']} | standard deviation | against exact | seeds | wire bytes a step | ms a step |")
    print("|---|---|---|---|---|---|---|")
    for label in labels:
        if found[label]:
            against = known[label][1] if label in known else "none"
            print(row(recipe, label, against, found[label], found.get(against, {})))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/release/lockstep")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="of the runs")
    parser.add_argument("--fashion", type=pathlib.Path, help="data of the CNN; without it the CNN is left out")
    parser.add_argument("--text", type=pathlib.Path, help="data of the GPT; without it the GPT is left out")
    parser.add_argument("--cnn-steps", type=int, default=600)
    parser.add_argument("--gpt-steps", type=int, default=1000)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 1 to this")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on as many cores as it has ranks")
    parser.add_argument("--only", nargs="+", help="compressors")
    parser.add_argument("--label", help="folder of a trial with --set, instead of the compressor's name")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of a trial; needs --label")
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    if arguments.set and not (arguments.label and arguments.only and len(arguments.only) == 1):
        parser.error("--set needs --label, and --only with one compressor")
    return arguments


def main():
    arguments = parse()
    recipes = {}
    if arguments.fashion:
        recipes["cnn"] = (cnn(arguments.cnn_steps), arguments.fashion.resolve())
    if arguments.text:
        recipes["gpt"] = (gpt(arguments.gpt_steps), arguments.text.resolve())
    seeds = range(1, arguments.seeds + 1)
    waiting = []
    for seed in [] if arguments.table else seeds:
        for name, (recipe, data) in recipes.items():
            for label, (settings, _) in variants(recipe).items():
                folder = arguments.folder / name / (arguments.label or label) / f"seed-{seed}"
                if (not arguments.only or label in arguments.only) and done(folder) is None:
                    waiting.append((recipe, data, settings, seed, folder))
    failed = train_all(arguments, waiting)
    for name, (recipe, _) in recipes.items():
        print_table(name, recipe, arguments.folder / name, seeds)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
