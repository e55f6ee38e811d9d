"""Runs lockstep in a folder of its own: writes data sets and configs, reads back what it leaves behind."""
import json
import os
import subprocess

import h5py
import numpy
from safetensors.torch import load_file


class Report:
    """Prints and counts comparisons."""

    def __init__(self):
        self.passed = self.failed = 0

    def at_most(self, name, value, bound):
        good = value <= bound  # false for a NaN
        self.passed += good
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {name:<66} {value:9.2e}  (at most {bound:.1e})", flush=True)


def difference(ours, theirs):
    """The largest difference of two tensors."""
    return (ours.double() - theirs.double()).abs().max().item()


class Bench:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *words):
        result = subprocess.run([self.program, *words], capture_output=True, text=True, cwd=self.folder)
        if result.returncode != 0:
            raise RuntimeError(f"lockstep {' '.join(words)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
        return result.stdout

    def write_data(self, classes, **splits):
        """HDF5 with a group per split of named arrays."""
        with h5py.File(self.path("data.h5"), "w") as file:
            file.attrs["classes"] = classes
            for split, tensors in splits.items():
                for name, values in tensors.items():
                    file[f"{split}/{name}"] = values

    def config(self, model, optimizer="{name: sgd, sgd: {momentum: 0}}", context=1, **sections):
        lines = [f"model: {model}", f"optimizer: {optimizer}", "device: cpu",
                 f"data: {{files: [data.h5], shuffle: false, normalise: false, context: {context}}}",
                 "run: {log_every: 1}", "checkpoint: {best: false}"]
        with open(self.path("c.yaml"), "w") as file:
            file.write("\n".join(lines + [f"{key}: {value}" for key, value in sections.items()]) + "\n")

    def train(self, run, *settings):
        """Trains; the losses of the steps."""
        words = [word for setting in settings for word in ("--set", setting)]
        self.run("train", "c.yaml", "--run-dir", run, *words)
        with open(self.path(f"{run}/metrics.jsonl")) as file:
            events = [json.loads(line) for line in file]
        return [event["loss"] for event in events if event["event"] == "step"]

    def export(self, run):
        self.run("export", run, f"{run}.safetensors")
        return load_file(self.path(f"{run}.safetensors"))

    def evaluate(self, weights):
        """Predictions and the mean loss, over what counts."""
        self.run("eval", "c.yaml", "--weights", weights, "--predictions", "p.h5")
        with h5py.File(self.path("p.h5")) as file:
            loss, target = numpy.array(file["loss"]), numpy.array(file["target"])
            return numpy.array(file["prediction"]), float(loss[target != -100].mean(dtype=numpy.float64))
