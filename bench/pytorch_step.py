#!/usr/bin/env python3
"""Times a training step of two models in PyTorch on the CPU, to hold beside `lockstep bench step`.

The models, batches and optimizers are those of configs/cifar_resnet20.yaml (at batch 64) and
configs/shakespeare_char_gpt.yaml: forward, backward and update on made-up samples, median of many steps.

    OMP_NUM_THREADS=1 python3 bench/pytorch_step.py [--processor-time] [--threads 1]
"""
import argparse
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "peers"))
from models import ResNet20


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.mlp_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x):
        batch, context, width = x.shape
        heads = (batch, context, self.heads, width // self.heads)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).split(width, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).reshape(x.shape))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocabulary=65, context=64, width=128, heads=4, layers=4):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.blocks(self.wte(ids) + self.wpe.weight[: ids.shape[1]])
        return self.ln_f(x) @ self.wte.weight.t()


def report(name, clock, step, steps):
    for _ in range(5):
        step()
    times = []
    for _ in range(steps):
        start = clock()
        step()
        times.append((clock() - start) * 1e3)
    times.sort()
    print(f"{name:<28} {times[steps // 2]:8.2f} ms ({times[0]:.2f} to {times[-1]:.2f})", flush=True)


def trainer(model, optimizer, samples, targets):
    def step():
        optimizer.zero_grad()
        output = model(samples)
        F.cross_entropy(output.view(-1, output.shape[-1]), targets).backward()
        optimizer.step()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processor-time", action="store_true", help="for busy machines; one thread only")
    options = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    clock = time.thread_time if options.processor_time else time.perf_counter
    print(f"PyTorch {torch.__version__}, {options.threads} thread(s)")

    images, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    for order in (torch.contiguous_format, torch.channels_last):
        model = ResNet20().to(memory_format=order)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        name = "resnet20" + (", channels last" if order == torch.channels_last else "")
        report(name, clock, trainer(model, sgd, images.to(memory_format=order), labels), 21)

    ids, targets = torch.randint(0, 65, (12, 64)), torch.randint(0, 65, (12 * 64,))
    for fused in (False, True):
        model = Gpt()
        adam = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=fused)
        report("gpt" + (", fused AdamW" if fused else ""), clock, trainer(model, adam, ids, targets), 61)


if __name__ == "__main__":
    main()
