"""The models on PyTorch's side, under the names that Lockstep reads."""
import torch
import torch.nn.functional as F
from torch import nn


class Mlp(nn.Module):
    def __init__(self, inputs, hidden, classes):
        super().__init__()
        widths = [inputs, *hidden, classes]
        self.layers = len(widths) - 1
        for i in range(self.layers):
            setattr(self, f"fc{i + 1}", nn.Linear(widths[i], widths[i + 1]))

    def forward(self, x):
        x = x.flatten(1)
        for i in range(self.layers):
            x = getattr(self, f"fc{i + 1}")(F.relu(x) if i else x)
        return x


class Block(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and pads channels with zeros (option A)."""

    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.side = stride, (channels - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.side, self.side))
        return F.relu(x + y)


class ResNet20(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[Block(16, 16, 1) for _ in range(3)])
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def gpt2(layers, heads, width, context, vocabulary):
    from transformers import GPT2Config, GPT2LMHeadModel  # here, for scripts that want other models only
    config = GPT2Config(vocab_size=vocabulary, n_positions=context, n_embd=width, n_layer=layers, n_head=heads,
                        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0)
    config.loss_type = "ForCausalLM"
    return GPT2LMHeadModel(config)


def stir(model):
    """Random values everywhere, so that no bias is 0 and no norm is 1; statistics of norms too."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dtype != torch.float32:
                continue
            noise = torch.randn_like(tensor) * 0.1
            tensor.mul_(1 + noise) if tensor.dim() > 1 or "var" in name else tensor.add_(noise)
    return model


def loss_of(model, inputs, targets):
    scores = model(inputs)
    scores = getattr(scores, "logits", scores)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1)), scores


def decaying(model, decay):
    """Parameter groups with weight decay for matrices and filters only, as Lockstep's optimizers have it."""
    kinds = {True: [], False: []}
    for parameter in model.parameters():
        kinds[parameter.dim() > 1].append(parameter)
    return [{"params": kinds[True], "weight_decay": decay}, {"params": kinds[False], "weight_decay": 0.0}]
