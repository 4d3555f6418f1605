"""The models of ``unimodel.models`` are their sources: same keys, same numbers, on every backend; and each trains alike on two of them.

What transformers has is compared with transformers, the rest with the structures of ``torch_models``.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import models, plugins

torch = pytest.importorskip("torch")
from torch_models import DLRM, LeNet5, MobileNetV2, ResNet, RNNModel, Seq2Seq, UNet, VAE, ConvNeXt, Discriminator, Generator, mlp  # noqa: E402, I001  after torch was found

pytestmark = pytest.mark.torch_oracle
BACKENDS = plugins.names()
rng = np.random.default_rng(0)


def images(*shape: int) -> Any:
    return rng.standard_normal(shape).astype("float32")


PLAIN = {
    "MLP": (lambda: models.MLP(8, [16, 16, 3]), lambda: mlp(8, 16, 16, 3), (images(4, 8),)),
    "LeNet5": (models.LeNet5, LeNet5, (images(2, 1, 32, 32),)),
    "ResNet, basic": (
        lambda: models.ResNet(models.resnet.BasicBlock, [1, 2, 1, 1], 5, width=8),
        lambda: ResNet(False, [1, 2, 1, 1], 5, 8),
        (images(2, 3, 64, 64),),
    ),
    "ResNet, bottleneck": (
        lambda: models.ResNet(models.resnet.Bottleneck, [1, 1, 2, 1], 5, width=8),
        lambda: ResNet(True, [1, 1, 2, 1], 5, 8),
        (images(2, 3, 64, 64),),
    ),
    "MobileNetV2": (
        lambda: models.MobileNetV2(5, 0.25, [(1, 64, 1, 1), (6, 64, 2, 2), (6, 128, 2, 2)]),
        lambda: MobileNetV2(5, 8, [(1, 16, 1, 1), (6, 16, 2, 2), (6, 32, 2, 2)], 1280),
        (images(2, 3, 32, 32),),
    ),
    "ConvNeXt": (lambda: models.ConvNeXt([(8, 1), (16, 2)], 5), lambda: ConvNeXt([(8, 1), (16, 2)], 5), (images(2, 3, 32, 32),)),
    "UNet": (lambda: models.UNet(3, 2, (4, 8, 16)), lambda: UNet(3, 2, [4, 8, 16]), (images(2, 3, 22, 18),)),
    "VAE": (lambda: models.VAE(20, 16, 4), lambda: VAE(20, 16, 4), (images(3, 20),)),
    "DCGAN generator": (lambda: models.DCGANGenerator(8, 4, 3), lambda: Generator(8, 4, 3), (images(2, 8, 1, 1),)),
    "DCGAN discriminator": (lambda: models.DCGANDiscriminator(3, 4), lambda: Discriminator(3, 4), (images(2, 3, 64, 64),)),
    "DLRM": (
        lambda: models.DLRM(8, [10, 7, 5], [4, 16, 8], [16, 1]),
        lambda: DLRM(8, [10, 7, 5], [4, 16, 8], [16, 1]),
        (images(6, 4), rng.integers(0, 5, (6, 3, 2))),
    ),
    "LSTM": (lambda: models.LSTMLanguageModel(20, 8, 12, 2), lambda: RNNModel(20, 8, 12, 2), (rng.integers(0, 20, (3, 6)),)),
    "LSTM, tied": (
        lambda: models.LSTMLanguageModel(20, 8, 8, 1, tie_weights=True),
        lambda: RNNModel(20, 8, 8, 1, tie=True),
        (rng.integers(0, 20, (3, 6)),),
    ),
    "Seq2Seq": (
        lambda: models.Seq2SeqTransformer(1, 2, 16, 4, 20, 30, 24),
        lambda: Seq2Seq(1, 2, 16, 4, 20, 30, 24),
        (rng.integers(0, 20, (3, 6)), rng.integers(0, 30, (3, 5)), np.arange(6) >= np.array([[6], [4], [5]]), np.arange(5) >= np.array([[5], [5], [4]])),
    ),
}


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")  # which torch uses, and warns of, for padding
@pytest.mark.parametrize("name", PLAIN)
def test_numbers_are_the_sources(name: str) -> None:
    ours, theirs, inputs = PLAIN[name]
    torch.manual_seed(0)
    net, module = ours(), theirs()
    with torch.no_grad():  # batch norm's running statistics are of some data, not 0 and 1
        module.train()
        module(*map(torch.tensor, inputs))
        expected = module.eval()(*map(torch.tensor, inputs))
    weights = module.state_dict()
    assert list(net.state_dict()) == list(weights)
    net.load_state_dict(weights)
    net.eval()
    for backend in BACKENDS:
        with um.use_backend(backend):
            close(net(*inputs), expected, backend)


def close(ours: Any, theirs: Any, backend: str) -> None:
    for mine, other in zip(um.nest.leaves(ours), um.nest.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other.detach().numpy(), rtol=0, atol=1e-4, err_msg=backend)


def test_an_lstm_goes_on_from_its_state() -> None:
    net, text = models.LSTMLanguageModel(20, 8, 12, 2).eval(), rng.integers(0, 20, (3, 6))
    for backend in BACKENDS:
        with um.use_backend(backend):
            whole, state = net(text), (np.zeros((2, 3, 12), "float32"),) * 2
            first, state = net(text[:, :4], state)
            second, state = net(text[:, 4:], state)
            np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------ transformers
DECODER = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
GPT2 = {"vocab_size": 50, "n_positions": 48, "n_embd": 32, "n_layer": 2, "n_head": 4}
IDS = rng.integers(1, 50, (2, 7))


def pair(name: str) -> tuple[um.Model, Any]:
    """One of ours, and transformers' with weights so large that attention and tokens are not all alike."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    spread, endless = {"initializer_range": 0.3}, {"bos_token_id": None, "eos_token_id": None}
    if name == "GPT2LMHeadModel":
        config, arguments = transformers.GPT2Config(**GPT2, **spread, **endless), GPT2
    elif name == "LlamaForCausalLM":
        arguments = {**DECODER, "num_key_value_heads": 2}
        config = transformers.LlamaConfig(**arguments, **spread, **endless)
    elif name == "ViTForImageClassification":
        config, arguments = transformers.ViTConfig(**VISION, **spread, num_labels=5), {**VISION, "num_labels": 5}
    else:
        config, arguments = transformers.BertConfig(**DECODER, **spread), DECODER
    net, module = getattr(models, name)(**arguments), getattr(transformers, name)(config).eval()
    assert list(net.state_dict()) == list(module.state_dict())
    net.load_state_dict(module.state_dict())
    return net.eval(), module


MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0]])
TRANSFORMERS = {
    "GPT2LMHeadModel": {"input_ids": IDS},
    "LlamaForCausalLM": {"input_ids": IDS},
    "BertModel": {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": np.array([[0, 0, 0, 1, 1, 1, 1]] * 2)},
    "BertForMaskedLM": {"input_ids": IDS, "attention_mask": MASK},
    "ViTForImageClassification": {"pixel_values": images(2, 3, 32, 32)},
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_numbers_are_transformers(name: str) -> None:
    net, module = pair(name)
    with torch.no_grad():
        expected = module(**{k: torch.tensor(v) for k, v in TRANSFORMERS[name].items()})
    arguments = list(TRANSFORMERS[name].values())
    for backend in BACKENDS:
        with um.use_backend(backend):
            result = net(*arguments)
        wanted = (expected.last_hidden_state, expected.pooler_output) if name == "BertModel" else expected.logits
        close(result, wanted, backend)


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "LlamaForCausalLM"])
def test_greedy_texts_are_transformers(name: str) -> None:
    net, module = pair(name)
    mask = np.array([[1] * 7, [0] * 3 + [1] * 4])  # the second prompt is shorter
    arguments = {"max_new_tokens": 20, "do_sample": False}
    whole = module.generate(torch.tensor(IDS), attention_mask=torch.ones(2, 7, dtype=torch.int64), pad_token_id=0, **arguments).numpy()
    ragged = module.generate(torch.tensor(IDS), attention_mask=torch.tensor(mask), pad_token_id=0, **arguments).numpy()
    assert whole.shape == ragged.shape == (2, 27) and len(set(whole[0])) > 3
    for backend in BACKENDS:
        with um.use_backend(backend):
            for cached in (True, False):
                np.testing.assert_array_equal(net.generate(IDS, 20, use_cache=cached), whole, err_msg=f"{backend}, cached: {cached}")
                np.testing.assert_array_equal(net.generate(IDS, 20, attention_mask=mask, use_cache=cached), ragged, err_msg=f"{backend}, cached: {cached}")


# ------------------------------------------------------------------------------------------------------------ generation
@pytest.fixture(scope="module")
def decoder() -> Any:
    net = models.GPT2LMHeadModel(**{**GPT2, "n_layer": 1})
    for name, parameter in net.named_parameters():
        if not name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")):
            parameter.data = um.random.normal(0, name, parameter.shape) * 0.4
    return net


def test_drawn_texts_are_the_same_everywhere(decoder: Any) -> None:
    options = {"do_sample": True, "temperature": 0.9, "top_k": 20, "top_p": 0.9}
    texts = []
    for backend in BACKENDS:
        with um.use_backend(backend):
            texts += [decoder.generate(IDS, 20, **options, seed=3), decoder.generate(IDS, 20, **options, seed=3, use_cache=False)]
            other = decoder.generate(IDS, 20, **options, seed=4)
        assert (other != texts[0]).any()
    for text in texts[1:]:
        np.testing.assert_array_equal(text, texts[0])


def test_frequencies_are_the_probabilities() -> None:
    from unimodel.models.generation import chooser

    probabilities = np.array([0.5, 0.04, 0.3, 0.16])
    logits = np.tile(np.log(probabilities), (4000, 1))

    def shares(**options: Any) -> Any:
        chosen = chooser(True, **{"temperature": 1.0, "top_k": None, "top_p": None, "seed": 0, **options})(logits, 0)
        return np.bincount(chosen, minlength=4) / len(logits)

    np.testing.assert_allclose(shares(), probabilities, atol=0.03)
    np.testing.assert_allclose(shares(temperature=0.5), probabilities**2 / (probabilities**2).sum(), atol=0.03)
    np.testing.assert_allclose(shares(top_k=2), [0.625, 0, 0.375, 0], atol=0.03)
    np.testing.assert_allclose(shares(top_p=0.8), [0.625, 0, 0.375, 0], atol=0.03)
    np.testing.assert_allclose(shares(top_p=0.81), [0.5 / 0.96, 0, 0.3 / 0.96, 0.16 / 0.96], atol=0.03)
    np.testing.assert_allclose(shares(top_p=0.01), [1, 0, 0, 0])


def test_a_text_ends(decoder: Any) -> None:
    whole = decoder.generate(IDS, 20)
    end = whole[0, 10]
    ended = decoder.generate(IDS, 20, eos_token_id=end, pad_token_id=0)
    first = [7 + list(row[7:]).index(end) if end in row[7:] else 26 for row in whole]
    assert ended.shape[1] == max(first) + 1
    for row, full, last in zip(ended, whole, first, strict=True):
        np.testing.assert_array_equal(row[: last + 1], full[: last + 1])
        assert (row[last + 1 :] == 0).all()


def test_weights_that_training_changed_are_generated_from(decoder: Any) -> None:
    net = models.GPT2LMHeadModel(**GPT2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    trainer = um.Trainer(net, loss=next_token_loss, optimizer=um.optim.Adam(lr=1e-2))
    text = np.tile(np.arange(8), (4, 2))
    before = net.generate([1, 2, 3], 5)
    trainer.fit((text[:, :-1], text[:, 1:]), epochs=40, verbose=False)
    assert net.training
    np.testing.assert_array_equal(net.generate([1, 2, 3], 5), [[1, 2, 3, 4, 5, 6, 7, 0]])
    assert (before != net.generate([1, 2, 3], 5)).any()
    assert not any("generation" in name for name in (*net.state_dict(), *trainer._um_runtime.variables))


def test_texts_in_other_precisions() -> None:
    for precision in ("float64", "bf16-mixed"):  # in the latter, tokens of nearly one logit may change places where sums are taken in another order
        net = models.LlamaForCausalLM(**DECODER, num_key_value_heads=2)
        um.Trainer(net, backend="torch", precision=precision)
        text = net.generate(IDS, 10)
        np.testing.assert_array_equal(net.generate(IDS, 10), text)
        assert text.shape == (2, 17)
        if precision == "float64":
            np.testing.assert_array_equal(net.generate(IDS, 10, use_cache=False), text)


def test_only_a_few_caches_are_kept(decoder: Any) -> None:
    from unimodel.models.generation import KEPT

    for count in range(1, KEPT + 3):
        decoder.generate(IDS[:1].repeat(count, axis=0), 2)
    home = decoder.__dict__["_um_runtime"]
    assert len(home.kept) == KEPT
    assert sum(name.startswith("generation/") for name in home.store) == 2 * KEPT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_ids": [[0.5]]}, "prompts are token ids"),
        ({"input_ids": [[50]]}, "outside the vocabulary"),
        ({"input_ids": [[1] * 40]}, "outgrow the model's positions"),
        ({"input_ids": [[1, 2]], "max_new_tokens": 0}, "at least 1"),
        ({"input_ids": [[1, 2]], "attention_mask": [[1, 0]]}, "padded on the left"),
        ({"input_ids": [[1, 2]], "do_sample": True, "temperature": 0.0}, "temperature must be above 0"),
        ({"input_ids": [[1, 2]], "do_sample": True, "top_k": 0}, "top_k must be at least 1"),
        ({"input_ids": [[1, 2]], "do_sample": True, "top_p": 0.0}, "top_p is a probability"),
    ],
)
def test_mistakes_of_prompts(decoder: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(um.errors.DataError, match=message):
        decoder.generate(**arguments)


# ------------------------------------------------------------------------------------------------------------ training
def next_token_loss(logits: Any, target: Any) -> Any:
    return um.losses.CrossEntropyLoss()(um.ops.reshape(logits, (-1, logits.shape[-1])), um.ops.reshape(target, (-1,)))


def classes(count: int) -> Any:
    return rng.integers(0, 5, count)


TEXT = rng.integers(1, 50, (4, 9))
FIRST = {"loss": lambda output, target: um.losses.CrossEntropyLoss()(output[1], target)}
TRAINING: dict[str, tuple[Any, Any, Any]] = {
    "MLP": (lambda: models.MLP(8, [16, 5], dropout=0.1), (images(4, 8), classes(4)), um.losses.CrossEntropyLoss()),
    "LeNet5": (models.LeNet5, (images(4, 1, 32, 32), classes(4)), um.losses.CrossEntropyLoss()),
    "ResNet": (PLAIN["ResNet, basic"][0], (images(4, 3, 64, 64), classes(4)), um.losses.CrossEntropyLoss()),
    "MobileNetV2": (PLAIN["MobileNetV2"][0], (images(4, 3, 32, 32), classes(4)), um.losses.CrossEntropyLoss()),
    "ConvNeXt": (lambda: models.ConvNeXt([(8, 1), (16, 2)], 5, 0.5), (images(4, 3, 32, 32), classes(4)), um.losses.CrossEntropyLoss()),
    "UNet": (PLAIN["UNet"][0], (images(2, 3, 16, 16), rng.integers(0, 2, (2, 16, 16))), um.losses.CrossEntropyLoss()),
    "VAE": (PLAIN["VAE"][0], ((x := rng.random((4, 20)).astype("float32")), x), models.vae_loss),
    "DLRM": (PLAIN["DLRM"][0], ((images(4, 4), rng.integers(0, 5, (4, 3))), rng.integers(0, 2, (4, 1)).astype("float32")), um.losses.BCELoss()),
    "LSTM": (lambda: models.LSTMLanguageModel(50, 8, 12, 2), (TEXT[:, :-1], TEXT[:, 1:]), next_token_loss),
    "Seq2Seq": (lambda: models.Seq2SeqTransformer(1, 1, 16, 4, 50, 50, 24), ((TEXT, TEXT[:, :-1]), TEXT[:, 1:]), next_token_loss),
    "BertModel": (lambda: models.BertModel(**DECODER), (TEXT, classes(4)), FIRST["loss"]),
    "BertForMaskedLM": (lambda: models.BertForMaskedLM(**DECODER), (TEXT, TEXT), next_token_loss),
    "GPT2LMHeadModel": (lambda: models.GPT2LMHeadModel(**GPT2), (TEXT[:, :-1], TEXT[:, 1:]), next_token_loss),
    "LlamaForCausalLM": (lambda: models.LlamaForCausalLM(**DECODER, num_key_value_heads=2), (TEXT[:, :-1], TEXT[:, 1:]), next_token_loss),
    "ViTForImageClassification": (
        lambda: models.ViTForImageClassification(**VISION, num_labels=5),
        (images(2, 3, 32, 32), classes(2)),
        um.losses.CrossEntropyLoss(),
    ),
}


@pytest.mark.parametrize("name", TRAINING)
def test_training_is_the_same_on_two_backends(name: str) -> None:
    make, batch, loss = TRAINING[name]
    found = {}
    for backend in ("numpy", "torch"):
        trainer = um.Trainer(make(), loss=loss, optimizer=um.optim.SGD(lr=0.05), backend=backend, precision="float64", seed=1)
        found[backend] = [float(trainer.train_step(batch)["loss"]) for _ in range(2)]
    assert found["numpy"][0] != found["numpy"][1]
    np.testing.assert_allclose(found["torch"], found["numpy"], rtol=1e-9)


class DCGAN(um.Trainer):
    """The example's step: the discriminator on real images and made ones, then the generator against it."""

    def step(self, batch: Any) -> dict[str, Any]:
        real, noise = batch
        make, judge = self.models["generator"], self.models["discriminator"]

        def judged(images: Any, truth: float) -> Any:
            answers = judge(images)
            return um.losses.BCELoss()(answers, um.ops.full_like(answers, truth))

        errors, grads = um.value_and_grad(lambda: judged(real, 1.0) + judged(make(noise).detach(), 0.0), wrt=judge.parameters())
        self.optimizers["discriminator"].update(grads)
        fooled, grads = um.value_and_grad(lambda: judged(make(noise), 1.0), wrt=make.parameters())
        self.optimizers["generator"].update(grads)
        return {"loss_d": errors, "loss_g": fooled}


def test_dcgan_trains_alike_on_two_backends() -> None:
    batch = (images(2, 3, 64, 64), images(2, 8, 1, 1))
    found = {}
    for backend in ("numpy", "torch"):
        networks = {"generator": models.DCGANGenerator(8, 4, 3), "discriminator": models.DCGANDiscriminator(3, 4)}
        optimizers = {name: um.optim.Adam(lr=2e-4, betas=(0.5, 0.999)) for name in networks}
        trainer = DCGAN(networks, optimizer=optimizers, backend=backend, precision="float64")
        found[backend] = [[float(v) for v in trainer.train_step(batch).values()] for _ in range(2)]
    np.testing.assert_allclose(found["torch"], found["numpy"], rtol=1e-8)


# ------------------------------------------------------------------------------------------------------------ weights
def parameters(model: um.Model) -> int:
    return sum(math.prod(p.shape) for p in model.parameters())


PUBLISHED = {  # torchvision's and transformers' own numbers
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "convnext_tiny": 28_589_128,
    "ViTForImageClassification": 86_567_656,
    "BertModel": 109_482_240,
    "GPT2LMHeadModel": 124_439_808,
    "LlamaForCausalLM": 6_738_415_616,
}
PAGE = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \|.*\| ([\d,]*) ?\|[^|]*\|$", PAGE, re.MULTILINE))


def test_the_page_has_every_model() -> None:
    assert set(models.__all__) - set(ROWS) == {"ResNet", "MobileNetV2", "ConvNeXt", "generate", "load_weights", "vae_loss"}


@pytest.mark.parametrize("name", [name for name, count in ROWS.items() if count])
def test_sizes_are_as_published(name: str) -> None:
    count = parameters(getattr(models, name)())
    assert f"{count:,}" == ROWS[name]
    assert count == PUBLISHED.get(name, count)


def test_a_model_is_a_file_of_150_lines() -> None:
    files = sorted(Path(models.__file__).parent.glob("*.py"))
    machinery = {"generation.py"}
    assert {f.name: n for f in files if (n := len(f.read_text(encoding="utf-8").splitlines())) > 150 and f.name not in machinery} == {}


def test_a_published_file_is_renamed(tmp_path: Any) -> None:
    """GPT-2's file has no prefix, constant masks beside the weights, and no lm_head, which is tied."""
    from safetensors.numpy import save_file

    source = models.GPT2LMHeadModel(**GPT2)
    weights = {n.removeprefix("transformer."): a for n, a in source.state_dict().items() if n != "lm_head.weight"}
    weights["h.0.attn.bias"] = np.ones((1, 1, 48, 48), "float32")
    weights = {n: a + np.float32(0.5) for n, a in weights.items()}
    save_file(weights, tmp_path / "model.safetensors")
    net = models.GPT2LMHeadModel(**GPT2)
    models.load_weights(net, tmp_path / "model.safetensors")
    for name, array in source.state_dict().items():
        np.testing.assert_array_equal(net.state_dict()[name], array + np.float32(0.5))


def test_files_of_transformers_4_have_other_names_for_vit() -> None:
    net = models.ViTForImageClassification(**VISION, num_labels=5)
    older = {"layers.": "encoder.layer.", "attention.o_proj": "attention.output.dense", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    older.update({f"attention.{q}_proj": f"attention.attention.{name}" for q, name in zip("qkv", ("query", "key", "value"), strict=True)})
    renamed = {}
    for name, array in net.state_dict().items():
        for new, old in older.items():
            name = name.replace(new, old)
        renamed[name] = array + 1
    models.load_weights(net, renamed)
    assert float(net.vit.layers[0].mlp.fc2.bias.data[0]) == 1.0


def test_bert_files_of_old_spelling() -> None:
    net = models.BertForMaskedLM(**DECODER)
    weights = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): a for n, a in net.state_dict().items()}
    weights["cls.seq_relationship.weight"] = np.zeros((2, 32))
    del weights["cls.predictions.decoder.weight"], weights["cls.predictions.decoder.bias"]
    models.load_weights(net, weights)
    with pytest.raises(um.errors.CheckpointError, match=r"missing: bert\.embeddings\.word_embeddings\.weight"):
        models.load_weights(net, {n: a for n, a in weights.items() if "word_embeddings" not in n})


def test_bfloat16_is_read(tmp_path: Any) -> None:
    from safetensors.torch import save_file

    net = models.MLP(3, [2])
    weights = {"0.weight": torch.tensor([[1.5, -2.25, 3e38], [0.0, -0.0, 1e-30]]).bfloat16(), "0.bias": torch.zeros(2).half()}
    save_file(weights, tmp_path / "model.safetensors")
    for given in (tmp_path / "model.safetensors", [tmp_path / "model.safetensors"], weights):
        models.load_weights(net, given)
        np.testing.assert_array_equal(net.state_dict()["0.weight"], weights["0.weight"].float().numpy())
