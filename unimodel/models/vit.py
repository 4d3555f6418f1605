"""Vision transformer: an image is a row of patches, which a transformer encoder reads."""

from __future__ import annotations

from typing import Any

from unimodel import init, nn, ops
from unimodel.errors import ShapeError
from unimodel.model import Model, Parameter
from unimodel.models.heads import join_heads, split_heads
from unimodel.models.initial import draw_small


class ViTPatchEmbeddings(Model):
    """(N, C, H, W) as one vector per patch, (N, patches, hidden_size)."""

    def __init__(self, num_channels: int, hidden_size: int, patch_size: int) -> None:
        self.projection = nn.Conv2d(num_channels, hidden_size, patch_size, stride=patch_size)

    def forward(self, x: Any) -> Any:
        return ops.permute_dims(ops.flatten(self.projection(x), 2), (0, 2, 1))


class ViTEmbeddings(Model):
    """A learned first token and the patches, each plus the vector of its place."""

    def __init__(self, image_size: int, patch_size: int, num_channels: int, hidden_size: int, dropout: float) -> None:
        self.image_size = image_size
        self.cls_token = Parameter((1, 1, hidden_size), init.normal(0.0, 0.02))
        self.position_embeddings = Parameter((1, (image_size // patch_size) ** 2 + 1, hidden_size), init.normal(0.0, 0.02))
        self.patch_embeddings = ViTPatchEmbeddings(num_channels, hidden_size, patch_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        if x.shape[2:] != (self.image_size, self.image_size):
            raise ShapeError("the images have another size than the model.", expected=f"{self.image_size} by {self.image_size}", given=str(x.shape))
        patches = self.patch_embeddings(x)
        first = ops.broadcast_to(self.cls_token, (x.shape[0], 1, patches.shape[2]))
        return self.dropout(ops.concat([first, patches], axis=1) + self.position_embeddings)


class ViTAttention(Model):
    def __init__(self, hidden_size: int, heads: int, dropout: float, bias: bool) -> None:
        self.heads = heads
        self.dropout = dropout
        self.q_proj = nn.Linear(hidden_size, hidden_size, bias)
        self.k_proj = nn.Linear(hidden_size, hidden_size, bias)
        self.v_proj = nn.Linear(hidden_size, hidden_size, bias)
        self.o_proj = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Any) -> Any:
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q_proj, self.k_proj, self.v_proj))
        return self.o_proj(join_heads(ops.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)))


class ViTMLP(Model):
    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        self.fc1 = nn.Linear(hidden_size, intermediate_size)
        self.fc2 = nn.Linear(intermediate_size, hidden_size)

    def forward(self, x: Any) -> Any:
        return self.fc2(ops.gelu(self.fc1(x)))


class ViTLayer(Model):
    """Attention and a two-layer network, each after a layer norm and beside a shortcut."""

    def __init__(self, hidden_size: int, heads: int, intermediate_size: int, dropout: float, attention_dropout: float, eps: float, bias: bool) -> None:
        self.attention = ViTAttention(hidden_size, heads, attention_dropout, bias)
        self.layernorm_before = nn.LayerNorm(hidden_size, eps)
        self.layernorm_after = nn.LayerNorm(hidden_size, eps)
        self.mlp = ViTMLP(hidden_size, intermediate_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        x = x + self.dropout(self.attention(self.layernorm_before(x)))
        return x + self.dropout(self.mlp(self.layernorm_after(x)))


class ViTModel(Model):
    """Images give features of the first token and of each patch (N, patches + 1, hidden_size)."""

    def __init__(self, embeddings: ViTEmbeddings, layers: list[ViTLayer], hidden_size: int, eps: float) -> None:
        self.embeddings = embeddings
        self.layers = nn.ModuleList(layers)
        self.layernorm = nn.LayerNorm(hidden_size, eps)

    def forward(self, x: Any) -> Any:
        x = self.embeddings(x)
        for layer in self.layers:
            x = layer(x)
        return self.layernorm(x)


class ViTForImageClassification(Model):
    """Images (N, num_channels, image_size, image_size) give logits (N, num_labels).

    Arguments, defaults (ViT-B/16, 86 million parameters) and state-dict keys are those of ``ViTForImageClassification`` in transformers 5, weights drawn
    as there; ``um.models.load_weights`` also takes the keys of the files that transformers 4 wrote. Paper: Dosovitskiy et al. 2020, "An image is worth 16x16 words".
    """

    renamed_keys = (
        (r"\.encoder\.layer\.", ".layers."),
        (r"\.attention\.attention\.query\.", ".attention.q_proj."),
        (r"\.attention\.attention\.key\.", ".attention.k_proj."),
        (r"\.attention\.attention\.value\.", ".attention.v_proj."),
        (r"\.attention\.output\.dense\.", ".attention.o_proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"(layers\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
        (r"^vit\.pooler\..*", ""),
    )

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        num_channels: int = 3,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_dropout_prob: float = 0.0,
        attention_probs_dropout_prob: float = 0.0,
        layer_norm_eps: float = 1e-12,
        qkv_bias: bool = True,
        num_labels: int = 1000,
    ) -> None:
        embeddings = ViTEmbeddings(image_size, patch_size, num_channels, hidden_size, hidden_dropout_prob)
        arguments = (hidden_size, num_attention_heads, intermediate_size, hidden_dropout_prob, attention_probs_dropout_prob, layer_norm_eps, qkv_bias)
        self.vit = ViTModel(embeddings, [ViTLayer(*arguments) for _ in range(num_hidden_layers)], hidden_size, layer_norm_eps)
        self.classifier = nn.Linear(hidden_size, num_labels)
        draw_small(self)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.vit(x)[:, 0])
