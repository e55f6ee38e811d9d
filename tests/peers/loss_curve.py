#!/usr/bin/env python3
"""GPT-2 124M in bf16 on a GPU beside PyTorch: the same tokens, initial weights and settings, and both loss curves.

    python3 tests/peers/loss_curve.py build/cuda/lockstep train_gpt2_u16.bin [--steps 100] [--set train.gradients=bf16]

TOKENS is a file of 16-bit numbers. PyTorch keeps f32 weights and computes under autocast, as Lockstep does with
train.precision bf16. Ends with 1 when losses differ by more than 1 % anywhere, or by 0.3 % in the mean.
"""
import argparse
import pathlib
import sys
import tempfile

import numpy
import torch
from safetensors.torch import save_file

from bench import Bench
from models import decaying, gpt2, loss_of

CONTEXT, BATCH, RATE = 1024, 8, 3e-4


def ours(bench, model, tokens, arguments):
    bench.write_data(50257, train={"tokens": tokens}, test={"tokens": tokens[:BATCH * CONTEXT + 1]})
    bench.config("{name: gpt2, gpt2: {size: 124M, dropout: 0}}", context=CONTEXT, batch=f"{{global: {BATCH}}}",
                 optimizer="{name: adamw, adamw: {beta2: 0.95, weight_decay: 0.1}}",
                 train=f"{{steps: {arguments.steps}, clip_norm: 1, precision: bf16}}", rate=f"{{peak: {RATE}}}",
                 rate_shape="constant")
    start = {key: value.clone() for key, value in model.state_dict().items() if key != "lm_head.weight"}
    save_file(start, bench.path("start.safetensors"))
    return bench.train("run", "device=cuda", "init.weights=start.safetensors", *arguments.set)


def theirs(model, tokens, steps):
    model = model.cuda().train()
    optimizer = torch.optim.AdamW(decaying(model, 0.1), lr=RATE, betas=(0.9, 0.95), eps=1e-8, fused=True)
    tokens = torch.from_numpy(tokens.astype("int64")).cuda()
    inputs, targets = tokens[:-1].reshape(-1, BATCH, CONTEXT), tokens[1:].reshape(-1, BATCH, CONTEXT)
    losses = []
    for step in range(steps):
        batch = step % inputs.shape[0]
        with torch.autocast("cuda", torch.bfloat16):
            loss, _ = loss_of(model, inputs[batch], targets[batch])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("tokens", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="more settings of Lockstep's run")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    tokens = numpy.fromfile(arguments.tokens, dtype="uint16")
    tokens = tokens[:(len(tokens) - 1) // (BATCH * CONTEXT) * BATCH * CONTEXT + 1]  # whole batches and a target
    model = gpt2(12, 12, 768, CONTEXT, 50257)
    with tempfile.TemporaryDirectory() as folder:
        mine = ours(Bench(str(arguments.program.resolve()), folder), model, tokens, arguments)
    peer = theirs(model, tokens, arguments.steps)
    for step, (a, b) in enumerate(zip(mine, peer, strict=True)):
        if step < 5 or step % 10 == 9:
            print(f"step {step + 1:4d}  Lockstep {a:.4f}  PyTorch {b:.4f}  {100 * (a - b) / b:+.3f} %")
    differences = [abs(a - b) / b for a, b in zip(mine, peer)]
    mean = sum(differences) / len(differences)
    print(f"{len(differences)} steps: at most {100 * max(differences):.3f} %, in the mean {100 * mean:.3f} % apart")
    return 1 if max(differences) > 0.01 or mean > 0.003 else 0


if __name__ == "__main__":
    sys.exit(main())
