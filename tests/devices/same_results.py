#!/usr/bin/env python3
"""The same training on CPU and GPU: same_results.py LOCKSTEP [--only MODEL...] [--large] [--folder DIR].

Ten steps of mlp, ResNet-20, ResNet-50 and GPT-2 (no dropout) in f32 on the CPU and on a GPU: losses agree to 1e-4.
In reproducible mode a repeated GPU run has the same parameter hash, and with two GPUs so have one rank and two; a
run with another seed has another one. With two GPUs also a run whose all-reduce is chosen by measurement. --large takes ResNet-50 at 224 x 224. Ends with 77, "skipped", without a GPU.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOLERANCE = 1e-4
# Small rates: batch norm over a small batch doubles what differs every few steps.
SGD = ["optimizer.name=sgd", "rate.peak=1e-3", "train.epochs=0", "loss.name=softmax_cross_entropy"]
IMAGES = [*SGD, "batch.global=32", "batch.microbatch=8", "data.crop=none"]
TOKENS = ["model.name=gpt2", "model.gpt2.layers=4", "model.gpt2.heads=4", "model.gpt2.width=128",
          "model.gpt2.dropout=0", "data.context=64", "batch.global=16", "batch.microbatch=4",
          "optimizer.name=adamw", "rate.peak=1e-3", "train.clip_norm=1", "eval.split=validation"]


def models(large):
    side = 224 if large else 64
    return {
        "mlp": ("small", ["model.name=mlp", *IMAGES]),
        "resnet20": ("small", ["model.name=resnet", "model.resnet.depth=20", *IMAGES]),
        # As its recipe starts it: with last scales of 1 two thread counts of one CPU already part ways.
        "resnet50": (side, ["model.name=resnet", "model.resnet.depth=50", "model.resnet.zero_last_gamma=true", *IMAGES,
                            "batch.global=64", "batch.microbatch=32"]),
        "gpt2": ("tokens", TOKENS),
    }


class Check:
    def __init__(self, program, folder):
        self.program, self.folder, self.failed = program, folder, 0

    def data(self, kind):
        path = self.folder / f"{kind}.h5"
        if not path.exists():
            what = (["noise_tokens", "--train", "100000", "--validation", "10000", "--classes", "1000"]
                    if kind == "tokens" else
                    ["noise_images", "--train", "512", "--test", "64", "--side", "32" if kind == "small" else str(kind),
                     "--classes", "10"])
            subprocess.run([self.program, "data", "generate", *what, "--output", path], check=True,
                           stdout=subprocess.DEVNULL)
        return path

    def train(self, name, data, settings, ranks=1):
        """Summary and losses of ten steps."""
        run = self.folder / name
        config = self.folder / "config.yaml"
        config.write_text("train: {steps: 10}\nrate_shape: constant\n")
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] if ranks > 1 else []
        command += [self.program, "train", config, "--run-dir", run]
        for setting in [f"data.files=[{data}]", "run.log_every=1", "eval.microbatches=1", "checkpoint.best=false",
                        *settings]:
            command += ["--set", setting]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{name}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return (json.loads((run / "summary.json").read_text()),
                [step["loss"] for step in steps if step["event"] == "step"])

    def says(self, holds, sentence):
        print(("ok    " if holds else "WRONG ") + sentence, flush=True)
        self.failed += not holds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], help="models")
    parser.add_argument("--folder", type=pathlib.Path)
    arguments = parser.parse_args()
    gpus = subprocess.run(["sh", "-c", "nvidia-smi -L 2>/dev/null | wc -l"], capture_output=True, text=True)
    gpus = int(gpus.stdout)
    if gpus == 0:
        print("skipped: no GPU is visible")
        return 77
    folder = arguments.folder or pathlib.Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    check = Check(arguments.program.resolve(), folder)
    for name, (kind, settings) in models(arguments.large).items():
        if arguments.only and name not in arguments.only:
            continue
        data = check.data(kind)
        _, host = check.train(f"{name}-cpu", data, [*settings, "device=cpu"])
        _, gpu = check.train(f"{name}-gpu", data, [*settings, "device=cuda"])
        worst = max(abs(a - b) / abs(a) for a, b in zip(host, gpu, strict=True))
        check.says(len(host) == 10 and worst <= TOLERANCE,
                   f"{name}: ten losses from {host[0]:.6f} to {host[-1]:.6f}, CPU and GPU within {worst:.1e}")
        exact = [*settings, "device=cuda", "train.reproducible=true", "allreduce=halving_doubling"]
        hashes = [check.train(f"{name}-{label}", data, [*exact, *more], ranks)[0]["parameter_hash"]
                  for label, more, ranks in
                  [("once", [], 1), ("again", [], 1), ("other", ["run.seed=2"], 1)] +
                  ([("two", [], 2)] if gpus > 1 else [])]
        check.says(hashes[0] == hashes[1] != hashes[2], f"{name}: hash {hashes[0]} again, {hashes[2]} with another seed")
        if gpus > 1:
            check.says(hashes[0] == hashes[3], f"{name}: hash {hashes[3]} on two GPUs")
            chosen = [*settings, "device=cuda", "allreduce.name=auto", "allreduce.auto.cache=false"]
            _, two = check.train(f"{name}-auto", data, chosen, 2)
            worst = max(abs(a - b) / abs(a) for a, b in zip(host, two, strict=True))
            check.says(worst <= TOLERANCE, f"{name}: CPU and two GPUs within {worst:.1e}, all-reduce chosen: "
                       + (folder / f"{name}-auto" / "allreduce.json").read_text())
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
