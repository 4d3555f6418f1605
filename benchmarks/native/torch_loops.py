"""PyTorch: zero_grad, forward, loss, backward, step; eager, or with ``torch.compile`` around forward and loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.native import Loop


def pin(threads: int) -> None:
    torch.set_num_threads(threads)


def settings() -> dict[str, object]:
    return {
        "threads": torch.get_num_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "onednn": torch.backends.mkldnn.is_available(),
    }


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(10, 20), nn.Linear(20, 1)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class MLP(nn.Module):
    def __init__(self, inputs=784, hidden=512, outputs=10):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)

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


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + self.downsample(x), inplace=True)


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        self.layers = nn.Sequential(
            *(nn.Sequential(Residual(a, b, 1 if i == 0 else 2), Residual(b, b, 1)) for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)))
        )
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, stride=2, padding=1)
        return self.fc(self.layers(x).mean((2, 3)))


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
    def __init__(self, layers=4, width=128, heads=4, length=64, symbols=256, tied=False):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(symbols, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.ln = nn.LayerNorm(width)
        self.head = None if tied else nn.Linear(width, symbols, bias=False)

    def forward(self, x):
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        h = self.ln(h)
        return F.linear(h, self.tokens.weight) if self.head is None else self.head(h)


class SequenceClassifier(nn.Module):
    def __init__(self, features=64, width=256, classes=10):
        super().__init__()
        self.lstm, self.fc = nn.LSTM(features, width, num_layers=2, batch_first=True), nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(self.lstm(x)[0][:, -1])


class Recommender(nn.Module):
    """The tables' gradients are sparse, as in DLRM: only the rows that a batch names are updated."""

    def __init__(self, tables=8, rows=10_000, width=16, numbers=13):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(rows, width, sparse=True) for _ in range(tables)])
        self.bottom1, self.bottom2 = nn.Linear(numbers, 64), nn.Linear(64, width)
        self.top1, self.top2 = nn.Linear(width + (tables + 1) ** 2, 64), nn.Linear(64, 1)

    def forward(self, numbers, categories):
        dense = F.relu(self.bottom2(F.relu(self.bottom1(numbers))))
        vectors = torch.stack([dense, *(table(categories[:, i]) for i, table in enumerate(self.tables))], 1)
        pairs = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        return self.top2(F.relu(self.top1(torch.cat([dense, pairs], 1))))


def _loop(model, loss_function, make_optimizer):
    def build(weights, compile=None):
        net = model()
        net.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
        optimizer = make_optimizer(net.parameters())

        def objective(inputs, y):
            return loss_function(net(*inputs), y)

        forward = net
        if compile is not None:
            objective, forward = torch.compile(objective), torch.compile(net)

        def tensors(inputs):
            return tuple(torch.from_numpy(a) for a in inputs) if isinstance(inputs, tuple) else (torch.from_numpy(inputs),)

        def step(x, y):
            optimizer.zero_grad()
            loss = objective(tensors(x), torch.from_numpy(y))
            loss.backward()
            optimizer.step()
            return loss.item()

        def predict(x):
            net.eval()
            with torch.inference_mode():
                result = forward(*tensors(x)).numpy()
            net.train()
            return result

        return Loop(step, predict)

    return build


def _token_loss(logits, y):
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))


def _tokens_second(build):
    """Predictions in unimodel's order of axes, (N, symbols, T); a view."""

    def built(weights, compile=None):
        loop = build(weights, compile)
        return Loop(loop.step, lambda x: loop.predict(x).swapaxes(1, 2))

    return built


LOOPS = {
    "regression": _loop(Regression, F.mse_loss, lambda p: torch.optim.SGD(p, lr=0.01)),
    "mlp": _loop(MLP, F.cross_entropy, lambda p: torch.optim.Adam(p, lr=1e-3)),
    "cnn": _loop(CNN, F.cross_entropy, lambda p: torch.optim.Adam(p, lr=1e-3)),
    "resnet18": _loop(ResNet18, F.cross_entropy, lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
    "gpt": _tokens_second(_loop(GPT, _token_loss, lambda p: torch.optim.AdamW(p, lr=3e-4))),
    "gpt2-small": _tokens_second(_loop(lambda: GPT(12, 768, 12, 1024, 50257, tied=True), _token_loss, lambda p: torch.optim.AdamW(p, lr=3e-4))),
    "lstm": _loop(SequenceClassifier, F.cross_entropy, lambda p: torch.optim.Adam(p, lr=1e-3)),
    "recommender": _loop(Recommender, F.binary_cross_entropy_with_logits, lambda p: torch.optim.SGD(p, lr=0.01)),
    "digits": _loop(lambda: MLP(64, 64), F.cross_entropy, lambda p: torch.optim.Adam(p, lr=3e-3)),
}
