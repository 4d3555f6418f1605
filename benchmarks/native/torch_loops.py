"""PyTorch, eager: zero_grad, forward, loss, backward, step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def pin() -> None:
    torch.set_num_threads(1)


def wait(loss) -> float:
    return loss.item()


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(10, 20), nn.Linear(20, 1)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 512), nn.Linear(512, 512), nn.Linear(512, 10)

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(64 * 7 * 7, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.qkv, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ln2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, width))
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(256, 128), nn.Embedding(64, 128)
        self.blocks = nn.ModuleList([Block(128, 4) for _ in range(4)])
        self.ln, self.head = nn.LayerNorm(128), nn.Linear(128, 256, bias=False)

    def forward(self, x):
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        return self.head(self.ln(h))


def _loop(model, loss_function, make_optimizer):
    def build(weights):
        net = model()
        net.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
        optimizer = make_optimizer(net.parameters())

        def step(x, y):
            x, y = torch.from_numpy(x), torch.from_numpy(y)
            optimizer.zero_grad()
            loss = loss_function(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step

    return build


def _token_loss(logits, y):
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))


LOOPS = {
    "regression": _loop(Regression, F.mse_loss, lambda p: torch.optim.SGD(p, lr=0.01)),
    "mlp": _loop(MLP, F.cross_entropy, lambda p: torch.optim.Adam(p, lr=1e-3)),
    "cnn": _loop(CNN, F.cross_entropy, lambda p: torch.optim.Adam(p, lr=1e-3)),
    "gpt": _loop(GPT, _token_loss, lambda p: torch.optim.AdamW(p, lr=3e-4)),
}
