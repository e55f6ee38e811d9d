"""The comparisons themselves, one function each."""
import copy
import json
import os
import shutil

import numpy
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel

from bench import Bench, Report, difference  # Bench and Report are same_models.py's too
from models import Mlp, ResNet20, decaying, gpt2, loss_of, stir

NO_STEP = "rate.peak=1e-60"  # zero in f32
GRADIENT_RATE = 1024.0  # a power of two: weights - 1024 * gradient loses little of the gradient


def tokens_of(vocabulary, count):
    return numpy.random.default_rng(3).integers(0, vocabulary, count).astype("uint16")


def windows(tokens, context):
    """Inputs and targets of the tiled windows of a token set whose length is a multiple plus one."""
    tokens = torch.from_numpy(tokens.astype("int64"))
    return tokens[:-1].reshape(-1, context), tokens[1:].reshape(-1, context)


def gpt2_bench(bench, layers, heads, width, context, vocabulary, samples):
    tokens = tokens_of(vocabulary, samples * context + 1)
    bench.write_data(vocabulary, train={"tokens": tokens}, test={"tokens": tokens})
    bench.config(f"{{name: gpt2, gpt2: {{layers: {layers}, heads: {heads}, width: {width}, dropout: 0}}}}",
                 context=context, batch=f"{{global: {samples}}}", train="{steps: 1}", rate=f"{{peak: {GRADIENT_RATE}}}")
    return windows(tokens, context)


def compare_scores(bench, report, name, model, inputs, targets, weights):
    with torch.no_grad():
        loss, scores = loss_of(model.eval(), inputs, targets)
    ours, our_loss = bench.evaluate(weights)
    report.at_most(f"{name}: logits", difference(torch.from_numpy(ours), scores), 1e-4)
    report.at_most(f"{name}: loss, relative", abs(our_loss - loss.item()) / loss.item(), 1e-5)


def header_of(bench, report, name, file):
    """The safetensors package reads what we wrote, and agrees with a plain reading of its first bytes."""
    with open(bench.path(file), "rb") as raw:
        plain = json.loads(raw.read(int.from_bytes(raw.read(8), "little")))
    with safe_open(bench.path(file), "pt") as opened:
        wrong = set(plain) - {"__metadata__"} != set(opened.keys()) or opened.metadata().get("format") != "pt"
        for key in opened.keys():
            tensor = opened.get_slice(key)
            wrong |= tensor.get_shape() != plain[key]["shape"] or tensor.get_dtype() != "F32"
    report.at_most(f"{name}: safetensors header, faults", float(wrong), 0.0)


def gpt2_out(shape, samples):
    def check(bench, report, name):
        inputs, targets = gpt2_bench(bench, *shape, samples)
        # An AdamW step of this rate moves every parameter: no bias stays 0, no norm 1.
        bench.train("run", "optimizer.name=adamw", "rate.peak=0.003")
        bench.export("run")
        header_of(bench, report, name, "run.safetensors")
        os.mkdir(bench.path("hf"))
        shutil.copy(bench.path("run.safetensors"), bench.path("hf/model.safetensors"))
        gpt2(*shape).config.save_pretrained(bench.path("hf"))
        model, info = GPT2LMHeadModel.from_pretrained(bench.path("hf"), output_loading_info=True)
        amiss = sum(len(names) for key, names in info.items() if isinstance(names, (list, set)))
        report.at_most(f"{name}: tensors missing, left over or mis-shaped", float(amiss), 0.0)
        compare_scores(bench, report, name, model, inputs, targets, "run")

    return check


def gradients_of(model, inputs, targets):
    """PyTorch's in f32 and, as the judge, in f64; and the state after the forward in f32."""
    found = []
    for dtype in (torch.float32, torch.float64):
        twin = copy.deepcopy(model).to(dtype).train()
        loss_of(twin, inputs.to(dtype) if inputs.is_floating_point() else inputs, targets)[0].backward()
        found.append({key: value.grad for key, value in twin.named_parameters()})
        found.append(twin.state_dict())
    return found[0], found[2], found[1]


def compare_gradients(bench, report, name, models, inputs, targets):
    """A step of plain SGD from PyTorch's weights shows the gradient; the judge is PyTorch in f64.

    Where rounding moves the input of a ReLU to the other side of 0, f32 gradients jump, PyTorch's as often as
    ours. So several models are drawn: the closest of ours must be as good as rounding, or as PyTorch's.
    """
    ours, theirs, statistics = [], [], []
    for number, model in enumerate(models):
        before = {key: value.clone() for key, value in model.state_dict().items() if key != "lm_head.weight"}
        save_file(before, bench.path("start.safetensors"))
        single, double, state = gradients_of(model, inputs, targets)
        bench.train(f"gradient{number}", "init.weights=start.safetensors", f"rate.peak={GRADIENT_RATE}",
                    "batch.global=0", f"batch.per_rank={len(inputs)}", "train.steps=1")
        after = bench.export(f"gradient{number}")
        step = {key: (before[key].double() - after[key].double()) / GRADIENT_RATE for key in double}
        ours.append(distance(step, double))
        theirs.append(distance(single, double))
        statistics += [difference(after[key], state[key]) for key in state if "running" in key]
    draws = " ".join(f"{value:.0e}" for value in theirs)
    report.at_most(f"{name}: gradients, best of {len(ours)}, relative (PyTorch f32: {draws})", min(ours),
                   max(1e-4, 2 * min(theirs)))
    if statistics:
        report.at_most(f"{name}: batch statistics after the step", max(statistics), 1e-4)


def distance(gradients, judge):
    """Norm of the difference over the norm, all slots together."""
    square = sum((gradients[key] - judge[key]).square().sum() for key in judge)
    return (square / sum(value.square().sum() for value in judge.values())).sqrt().item()


def gpt2_in(shape, samples):
    def check(bench, report, name):
        inputs, targets = gpt2_bench(bench, *shape, samples)
        model = stir(gpt2(*shape))
        model.save_pretrained(bench.path("hf"))
        shutil.copy(bench.path("hf/model.safetensors"), bench.path("start.safetensors"))
        bench.train("run", "init.weights=start.safetensors", NO_STEP)
        compare_scores(bench, report, name, model, inputs, targets, "run")
        again, file = bench.export("run"), load_file(bench.path("start.safetensors"))
        report.at_most(f"{name}: exported again", max(difference(again[key], file[key]) for key in file), 0.0)
        compare_gradients(bench, report, name, [model], inputs, targets)

    return check


def images_of(samples, channels, side, classes):
    random = numpy.random.default_rng(5)
    images = random.standard_normal((samples, channels, side, side)).astype("float32")
    return images, random.integers(0, classes, samples).astype("int32")


def image_bench(bench, model, samples, channels, side, classes, batch, steps=1, **more):
    images, labels = images_of(samples, channels, side, classes)
    split = {"image": images, "label": labels}
    bench.write_data(classes, train=split, test=split)
    bench.config(model, batch=f"{{global: {batch}}}", train=f"{{steps: {steps}}}", rate=f"{{peak: {GRADIENT_RATE}}}", **more)
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def save(bench, model):
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, bench.path("start.safetensors"))


def resnet(depth, side, samples, draws):
    def check(bench, report, name):
        inputs, targets = image_bench(bench, f"{{name: resnet, resnet: {{depth: {depth}}}}}", samples, 3, side, 1000, samples)
        make = getattr(torchvision.models, f"resnet{depth}")
        bench.train("run", "optimizer.name=adamw", "rate.peak=0.003")
        tensors = bench.export("run")
        header_of(bench, report, name, "run.safetensors")
        model = make()
        amiss = model.load_state_dict(tensors, strict=False)
        missing = [key for key in amiss.missing_keys if not key.endswith("num_batches_tracked")]
        report.at_most(f"{name}: tensors missing or left over", float(len(missing) + len(amiss.unexpected_keys)), 0.0)
        compare_scores(bench, report, f"{name}, ours to torchvision", model, inputs, targets, "run")
        model = stir(make())
        save(bench, model)
        compare_scores(bench, report, f"{name}, torchvision's to us", model, inputs, targets, "start.safetensors")
        compare_gradients(bench, report, name, [model] + [stir(make()) for _ in range(draws - 1)], inputs, targets)

    return check


OPTIMIZERS = {
    "sgd": (["momentum=0.9", "nesterov=true", "weight_decay=5e-4"], 0.05,
            lambda model, rate: torch.optim.SGD(decaying(model, 5e-4), lr=rate, momentum=0.9, nesterov=True)),
    "adamw": (["beta2=0.99", "weight_decay=0.1"], 1e-3,
              lambda model, rate: torch.optim.AdamW(decaying(model, 0.1), lr=rate, betas=(0.9, 0.99))),
}
STEPS = 10
# Batch norm on random labels multiplies rounding: at rate 0.05 PyTorch's own f32 and f64 are 1e-2 apart after
# seven steps. ResNet-20 is compared at rates at which they stay together.
GENTLE = {"sgd": 1e-4, "adamw": 1e-6}


def trajectory(kind, optimizer):
    def check(bench, report, name):
        settings, rate, make_optimizer = OPTIMIZERS[optimizer]
        if kind == "resnet20":
            rate = GENTLE[optimizer]
        if kind == "gpt2":
            batch = 8
            inputs, targets = gpt2_bench(bench, 4, 4, 128, 64, 65, STEPS * batch)
            model = gpt2(4, 4, 128, 64, 65)
        else:
            batch = 32
            described = "{name: mlp, mlp: {hidden: [64, 32]}}" if kind == "mlp" else "{name: resnet, resnet: {depth: 20}}"
            inputs, targets = image_bench(bench, described, STEPS * batch, 3, 32, 10, batch)
            model = Mlp(3 * 32 * 32, [64, 32], 10) if kind == "mlp" else ResNet20()
        start = {key: value.clone() for key, value in model.state_dict().items() if key != "lm_head.weight"}
        save_file(start, bench.path("start.safetensors"))
        ours = bench.train("run", "init.weights=start.safetensors", f"optimizer.name={optimizer}",
                           *[f"optimizer.{optimizer}.{setting}" for setting in settings],
                           f"rate.peak={rate}", f"batch.global={batch}", f"train.steps={STEPS}")
        stepper, theirs = make_optimizer(model.train(), rate), []
        for step in range(STEPS):
            rows = slice(step * batch, (step + 1) * batch)
            stepper.zero_grad()
            loss, _ = loss_of(model, inputs[rows], targets[rows])
            loss.backward()
            stepper.step()
            theirs.append(loss.item())
        report.at_most(f"{name}: steps not logged", float(abs(len(ours) - STEPS)), 0.0)
        worst = max(abs(a - b) / b for a, b in zip(ours, theirs))
        report.at_most(f"{name}: losses {theirs[0]:.4f} to {theirs[-1]:.4f}, relative", worst, 1e-4)

    return check


SMALL, PUBLISHED = (4, 4, 128, 64, 65), (12, 12, 768, 1024, 50257)
# name, check, whether it takes long
ALL = [("gpt2 4 layers to transformers", gpt2_out(SMALL, 8), False),
       ("gpt2 4 layers from transformers", gpt2_in(SMALL, 8), False),
       ("resnet18", resnet(18, 64, 4, 4), False)]
ALL += [(f"trajectory of {kind}, {optimizer}", trajectory(kind, optimizer), False)
        for kind in ("mlp", "resnet20", "gpt2") for optimizer in OPTIMIZERS]
ALL += [("resnet50", resnet(50, 224, 4, 1), True),
        ("resnet50 on small images", resnet(50, 64, 4, 4), True),
        ("gpt2 124M to transformers", gpt2_out(PUBLISHED, 1), True),
        ("gpt2 124M from transformers", gpt2_in(PUBLISHED, 1), True)]
