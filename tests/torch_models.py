"""The structures whose state-dict keys our models have, in PyTorch, as small as keys and mathematics allow.

torchvision's and the examples' modules, written anew for comparison; what transformers has is compared with transformers itself.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F


def mlp(inputs: int, *widths: int) -> nn.Sequential:  # torchvision.ops.MLP
    layers: list[nn.Module] = []
    for width in widths[:-1]:
        layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(0.0)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, widths[-1]), nn.Dropout(0.0))


class LeNet5(nn.Module):  # the tutorial "Neural Networks"
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.max_pool2d(F.relu(self.conv1(x)), 2))), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class Block(nn.Module):  # torchvision.models.resnet, BasicBlock and Bottleneck
    def __init__(self, inputs: int, planes: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = planes * 4 if bottleneck else planes
        shapes = (
            [(inputs, planes, 1, 1), (planes, planes, 3, stride), (planes, outputs, 1, 1)]
            if bottleneck
            else [(inputs, planes, 3, stride), (planes, planes, 3, 1)]
        )
        self.count = len(shapes)
        for i, (a, b, size, step) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(a, b, size, step, size // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(b))
        same = stride == 1 and inputs == outputs
        self.downsample = None if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.count else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):  # torchvision.models.resnet
    def __init__(self, bottleneck: bool, layers: list[int], classes: int, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        inputs = width
        for i, count in enumerate(layers):
            blocks = []
            for j in range(count):
                blocks.append(Block(inputs, width << i, 2 if i and not j else 1, bottleneck))
                inputs = (width << i) * (4 if bottleneck else 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3)))


def conv_norm(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6())


class Inverted(nn.Module):  # torchvision.models.mobilenetv2, InvertedResidual
    def __init__(self, inputs: int, outputs: int, stride: int, ratio: int) -> None:
        super().__init__()
        hidden = inputs * ratio
        wide = [conv_norm(inputs, hidden, 1)] if ratio != 1 else []
        self.conv = nn.Sequential(*wide, conv_norm(hidden, hidden, 3, stride, hidden), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.same = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.same else self.conv(x)


class MobileNetV2(nn.Module):  # torchvision.models.mobilenetv2, with channels that need no rounding
    def __init__(self, classes: int, first: int, stages: list[tuple[int, int, int, int]], last: int) -> None:
        super().__init__()
        features, inputs = [conv_norm(3, first, 3, 2)], first
        for ratio, outputs, count, stride in stages:
            for i in range(count):
                features.append(Inverted(inputs, outputs, stride if i == 0 else 1, ratio))
                inputs = outputs
        self.features = nn.Sequential(*features, conv_norm(inputs, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Norm2d(nn.LayerNorm):  # torchvision.models.convnext, LayerNorm2d
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Permute(nn.Module):
    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return x.permute(self.dims)


class CNBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim),
            Permute([0, 2, 3, 1]),
            nn.LayerNorm(dim, eps=1e-6),
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Linear(4 * dim, dim),
            Permute([0, 3, 1, 2]),
        )
        self.layer_scale = nn.Parameter(torch.rand(dim, 1, 1))

    def forward(self, x):
        return x + self.layer_scale * self.block(x)


class ConvNeXt(nn.Module):  # torchvision.models.convnext
    def __init__(self, stages: list[tuple[int, int]], classes: int) -> None:
        super().__init__()
        norm = partial(Norm2d, eps=1e-6)
        features: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, stages[0][0], 4, 4), norm(stages[0][0]))]
        for i, (channels, count) in enumerate(stages):
            features.append(nn.Sequential(*(CNBlock(channels) for _ in range(count))))
            if i + 1 < len(stages):
                features.append(nn.Sequential(norm(channels), nn.Conv2d(channels, stages[i + 1][0], 2, 2)))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(norm(stages[-1][0]), nn.Flatten(1), nn.Linear(stages[-1][0], classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3), keepdim=True))


def double(inputs: int, outputs: int) -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in ((inputs, outputs), (outputs, outputs)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(OrderedDict(double_conv=nn.Sequential(*layers)))


class Up(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up, self.conv = nn.ConvTranspose2d(inputs, inputs // 2, 2, 2), double(inputs, outputs)

    def forward(self, x, skip):
        x = self.up(x)
        dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        return self.conv(torch.cat([skip, F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])], 1))


class UNet(nn.Module):  # github.com/milesial/Pytorch-UNet
    def __init__(self, channels: int, classes: int, widths: list[int]) -> None:
        super().__init__()
        self.inc = double(channels, widths[0])
        self.depth = len(widths) - 1
        for i in range(self.depth):
            setattr(self, f"down{i + 1}", nn.Sequential(OrderedDict(maxpool_conv=nn.Sequential(nn.MaxPool2d(2), double(widths[i], widths[i + 1])))))
        for i in range(self.depth):
            setattr(self, f"up{i + 1}", Up(widths[self.depth - i], widths[self.depth - i - 1]))
        self.outc = nn.Sequential(OrderedDict(conv=nn.Conv2d(widths[0], classes, 1)))

    def forward(self, x):
        kept = [self.inc(x)]
        for i in range(self.depth):
            kept.append(getattr(self, f"down{i + 1}")(kept[-1]))
        x = kept.pop()
        for i in range(self.depth):
            x = getattr(self, f"up{i + 1}")(x, kept.pop())
        return self.outc(x)


class VAE(nn.Module):  # github.com/pytorch/examples, vae; the latent vector is its mean
    def __init__(self, features: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(features, hidden), nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.fc3, self.fc4 = nn.Linear(latent, hidden), nn.Linear(hidden, features)

    def forward(self, x):
        h = F.relu(self.fc1(x))
        mu, logvar = self.fc21(h), self.fc22(h)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(mu)))), mu, logvar


class Generator(nn.Module):  # github.com/pytorch/examples, dcgan
    def __init__(self, nz: int, ngf: int, nc: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widths = [nz, 8 * ngf, 4 * ngf, 2 * ngf, ngf]
        for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
            layers += [nn.ConvTranspose2d(a, b, 4, 2 if i else 1, 1 if i else 0, bias=False), nn.BatchNorm2d(b), nn.ReLU(True)]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):  # github.com/pytorch/examples, dcgan
    def __init__(self, nc: int, ndf: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(nc, ndf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for width in (ndf, 2 * ndf, 4 * ndf):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(8 * ndf, 1, 4, 1, 0, bias=False), nn.Sigmoid())

    def forward(self, x):
        return self.main(x).view(-1)


class DLRM(nn.Module):  # github.com/facebookresearch/dlrm, interaction "dot", bags of one size
    def __init__(self, size: int, tables: list[int], bottom: list[int], top: list[int]) -> None:
        super().__init__()
        self.emb_l = nn.ModuleList(nn.EmbeddingBag(n, size, mode="sum") for n in tables)
        self.bot_l = self.tower(bottom, nn.ReLU)
        self.top_l = self.tower([size + (len(tables) + 1) * len(tables) // 2, *top], nn.Sigmoid)

    @staticmethod
    def tower(widths: list[int], last: type[nn.Module]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
            layers += [nn.Linear(a, b), last() if i == len(widths) - 2 else nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, dense, sparse):
        x = self.bot_l(dense)
        t = torch.stack([x, *(table(sparse[:, i]) for i, table in enumerate(self.emb_l))], 1)
        z = torch.bmm(t, t.transpose(1, 2))
        pairs = [(i, j) for i in range(t.shape[1]) for j in range(i)]
        return self.top_l(torch.cat([x, *(z[:, i, j, None] for i, j in pairs)], 1))


class RNNModel(nn.Module):  # github.com/pytorch/examples, word_language_model, batches first and logits as ours
    def __init__(self, tokens: int, size: int, hidden: int, layers: int, tie: bool = False) -> None:
        super().__init__()
        self.encoder, self.rnn = nn.Embedding(tokens, size), nn.LSTM(size, hidden, layers)
        self.decoder = nn.Linear(hidden, tokens)
        if tie:
            self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(self.rnn(self.encoder(x.T))[0]).transpose(0, 1)


class TokenEmbedding(nn.Module):
    def __init__(self, tokens: int, size: int) -> None:
        super().__init__()
        self.embedding, self.size = nn.Embedding(tokens, size), size

    def forward(self, x):
        return self.embedding(x) * math.sqrt(self.size)


class PositionalEncoding(nn.Module):
    def __init__(self, size: int, maxlen: int = 5000) -> None:
        super().__init__()
        angles = torch.arange(maxlen).reshape(maxlen, 1) * torch.exp(-torch.arange(0, size, 2) * math.log(10000) / size)
        table = torch.zeros(maxlen, 1, size)
        table[:, 0, 0::2], table[:, 0, 1::2] = torch.sin(angles), torch.cos(angles)
        self.register_buffer("pos_embedding", table)

    def forward(self, x):
        return x + self.pos_embedding[: x.size(1), 0]


class Seq2Seq(nn.Module):  # the tutorial "Language Translation with nn.Transformer", batches first as ours
    def __init__(self, encoders: int, decoders: int, size: int, heads: int, source: int, target: int, hidden: int) -> None:
        super().__init__()
        self.transformer = nn.Transformer(size, heads, encoders, decoders, hidden, 0.0, batch_first=True)
        self.generator = nn.Linear(size, target)
        self.src_tok_emb, self.tgt_tok_emb = TokenEmbedding(source, size), TokenEmbedding(target, size)
        self.positional_encoding = PositionalEncoding(size)

    def forward(self, src, tgt, src_padding, tgt_padding):
        a, b = self.positional_encoding(self.src_tok_emb(src)), self.positional_encoding(self.tgt_tok_emb(tgt))
        causal = torch.ones(tgt.size(1), tgt.size(1), dtype=torch.bool).triu(1)
        return self.generator(self.transformer(a, b, None, causal, None, src_padding, tgt_padding, src_padding))
