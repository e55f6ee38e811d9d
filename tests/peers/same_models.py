#!/usr/bin/env python3
"""Are Lockstep's models the world's? Holds them beside PyTorch, torchvision and Hugging Face, in f32 on the CPU.

Weights go both ways through safetensors; logits, losses, gradients, batch statistics and ten-step loss
trajectories must agree. A line per comparison says what was found and what is allowed. Needs torch,
torchvision, transformers, safetensors, h5py and numpy; without them it ends with code 77 (skipped).

    python3 tests/peers/same_models.py build/release/lockstep [--only gpt2] [--quick]
"""
import argparse
import os
import sys
import tempfile

try:
    import torch
    import torchvision
    import transformers

    import checks
except ImportError as error:
    print(f"skipped: {error}. Install torch, torchvision, transformers, safetensors, h5py and numpy to compare.")
    sys.exit(77)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the lockstep program")
    parser.add_argument("--only", default="", help="checks whose name holds this text")
    parser.add_argument("--quick", action="store_true", help="leave out GPT-2 124M and ResNet-50 at full size")
    words = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    print(f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, transformers {transformers.__version__}")
    report = checks.Report()
    for name, check, large in checks.ALL:
        if words.only in name and not (large and words.quick):
            with tempfile.TemporaryDirectory() as folder:
                check(checks.Bench(os.path.abspath(words.program), folder), report, name)
    print(f"{report.passed} passed, {report.failed} failed")
    sys.exit(1 if report.failed or not report.passed else 0)


if __name__ == "__main__":
    main()
