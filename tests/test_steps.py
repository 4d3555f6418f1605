"""Steps of one's own, PyTorch's beside them, and what may change between two steps of any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from regression import Descent, X, Y, trainer

import unimodel as um


class GAN(um.Trainer):
    """Goodfellow et al. 2014: the step of the documentation, with fixed noise as data."""

    def step(self, batch: Any) -> dict[str, Any]:
        real, z = batch
        g, d = self.models["generator"], self.models["discriminator"]
        bce = um.losses.BCEWithLogitsLoss()
        loss_d, grads = um.value_and_grad(lambda: bce(d(real), 1.0) + bce(d(g(z)), 0.0), wrt=d.parameters())
        self.optimizers["discriminator"].update(grads)
        loss_g, grads = um.value_and_grad(lambda: bce(d(g(z)), 1.0), wrt=g.parameters())
        self.optimizers["generator"].update(grads)
        return {"loss_d": loss_d, "loss_g": loss_g}


def nets(nn: Any) -> tuple[Any, Any]:
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 3)), nn.Sequential(nn.Linear(3, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1))


def paired_nets(torch: Any) -> tuple[Any, Any, Any, Any]:
    torch.manual_seed(0)
    modules, models = [m.double() for m in nets(torch.nn)], nets(um.nn)
    for model, module in zip(models, modules, strict=True):
        model.load_state_dict(module.state_dict())
    return (*models, *modules)


def same_weights(*pairs: tuple[um.Model, Any]) -> None:
    for model, module in pairs:
        for name, tensor in module.state_dict().items():
            np.testing.assert_allclose(model.state_dict()[name], tensor.numpy(), rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.torch_oracle
def test_a_gan_step_with_two_models_and_optimizers() -> None:
    """The generator's gradient is taken after the discriminator's update, which it must see."""
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    g, d, tg, td = paired_nets(torch)
    t = GAN(
        {"generator": g, "discriminator": d},
        optimizer={"generator": um.optim.Adam(lr=0.01), "discriminator": um.optim.SGD(lr=0.05, momentum=0.5)},
        backend="numpy",
        precision="float64",
    )
    opt_g, opt_d = torch.optim.Adam(tg.parameters(), lr=0.01), torch.optim.SGD(td.parameters(), lr=0.05, momentum=0.5)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    z = np.random.default_rng(1).standard_normal((23, 2))
    losses = []
    for _ in range(20):
        real, noise = torch.tensor(X), torch.tensor(z)
        opt_d.zero_grad()
        out_real, out_fake = td(real), td(tg(noise).detach())
        loss_d = bce(out_real, torch.ones_like(out_real)) + bce(out_fake, torch.zeros_like(out_fake))
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        out = td(tg(noise))
        loss_g = bce(out, torch.ones_like(out))
        loss_g.backward()
        opt_g.step()
        losses.append((loss_d.item(), loss_g.item()))
        logs = t.train_step((X, z))
        assert (float(logs["loss_d"]), float(logs["loss_g"])) == pytest.approx(losses[-1], rel=1e-9)
    same_weights((g, tg), (d, td))
    assert list(t.fit((X, z), epochs=2, verbose=False).history) == ["loss_d", "loss_g"]
    assert set(t.models["generator"].state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.torch_oracle
def test_a_gradient_penalty_differentiates_a_gradient() -> None:
    """Gulrajani et al. 2017."""
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")

    class Critic(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            real, fake = batch

            def objective() -> Any:
                middle = 0.3 * real + 0.7 * fake
                _, slope = um.value_and_grad(lambda: um.ops.sum(self.model(middle)), wrt=middle)
                norm = um.ops.sqrt(um.ops.sum(slope * slope, axis=1))
                penalty = um.ops.mean((norm - 1.0) ** 2)
                return um.ops.mean(self.model(fake)) - um.ops.mean(self.model(real)) + 10.0 * penalty, penalty

            (loss, penalty), grads = um.value_and_grad(objective, wrt=self.model.parameters(), has_aux=True)
            self.optimizer.update(grads)
            return {"loss": loss, "penalty": penalty}

    torch.manual_seed(1)

    def build(nn: Any) -> Any:
        return nn.Sequential(nn.Linear(3, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 1))

    critic, module = build(um.nn), build(torch.nn).double()
    critic.load_state_dict(module.state_dict())
    t = Critic(critic, optimizer=um.optim.Adam(lr=0.01), backend="numpy", precision="float64")
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    fake = np.random.default_rng(2).standard_normal((23, 3))
    for _ in range(10):
        logs = t.train_step((X, fake))
        optimizer.zero_grad()
        middle = (0.3 * torch.tensor(X) + 0.7 * torch.tensor(fake)).requires_grad_()
        (slope,) = torch.autograd.grad(module(middle).sum(), middle, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1.0) ** 2).mean()
        loss = module(torch.tensor(fake)).mean() - module(torch.tensor(X)).mean() + 10.0 * penalty
        loss.backward()
        optimizer.step()
        assert (float(logs["loss"]), float(logs["penalty"])) == pytest.approx((loss.item(), penalty.item()), rel=1e-9)
    same_weights((critic, module))


def test_distillation_leaves_the_teacher_alone() -> None:
    class Distill(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            teacher, student = self.models["teacher"], self.models["student"]
            loss, grads = um.value_and_grad(lambda: um.losses.MSELoss()(student(batch), teacher(batch)), wrt=student.parameters())
            self.optimizers["student"].update(grads)
            return {"loss": loss}

    teacher, student = um.nn.Linear(3, 1), um.nn.Linear(3, 1)
    t = Distill({"teacher": teacher, "student": student}, optimizer={"student": um.optim.SGD(lr=0.1)}, backend="numpy", precision="float64")
    before = teacher.state_dict()
    losses = t.fit(X, epochs=200, verbose=False).history["loss"]
    assert losses[-1] < 1e-8 < losses[0]
    assert all(np.array_equal(value, before[name]) for name, value in teacher.state_dict().items())
    np.testing.assert_allclose(student.state_dict()["weight"], before["weight"], atol=1e-3)


def test_reads_after_an_update_see_the_new_values() -> None:
    class Twice(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            loss = um.losses.MSELoss()
            first, grads = um.value_and_grad(lambda: loss(self.model(batch[0]), batch[1]), wrt=self.model.parameters())
            self.optimizer.update(grads)
            second, grads = um.value_and_grad(lambda: loss(self.model(batch[0]), batch[1]), wrt=self.model.parameters())
            self.optimizer.update(grads)
            return {"first": first, "second": second, "third": loss(self.model(batch[0]), batch[1])}

    t = Twice(um.nn.Linear(3, 1), optimizer=um.optim.SGD(lr=0.1), backend="numpy", precision="float64")
    by_hand = Descent(t.model.state_dict())
    logs = t.train_step((X, Y))
    expected = [by_hand.step(X, Y), by_hand.step(X, Y), by_hand.loss(X, Y)]
    assert [float(logs[name]) for name in ("first", "second", "third")] == pytest.approx(expected, rel=1e-12)
    assert t.optimizer.steps == 2


def test_gradient_accumulation_over_two_steps() -> None:
    """State of one's own in buffers; every second step updates with the mean gradient of two batches."""

    class Net(um.Model):
        def __init__(self) -> None:
            self.layer = um.nn.Linear(3, 1)
            self.sums = um.nn.ModuleList([])
            self.weight_sum, self.bias_sum = um.Buffer((1, 3)), um.Buffer((1,))

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    class Accumulate(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            net = self.model
            sums = [net.weight_sum, net.bias_sum]
            loss, grads = um.value_and_grad(lambda: um.losses.MSELoss()(net(batch[0]), batch[1]), wrt=net.parameters())
            due = self.global_step % 2 == 1
            for parameter, total, grad in zip(net.parameters(), sums, grads, strict=True):
                gathered = total + grad / 2
                parameter.assign(um.ops.where(due, parameter - 0.1 * gathered, parameter))
                total.assign(um.ops.where(due, um.ops.zeros_like(gathered), gathered))
            return {"loss": loss}

    t = Accumulate(Net(), backend="numpy", precision="float64")
    by_hand = Descent({"weight": t.model.layer.weight.data, "bias": t.model.layer.bias.data})
    for _ in range(3):
        t.train_step((X[:10], Y[:10]))
        t.train_step((X[10:20], Y[10:20]))
        by_hand.step(X[:20], Y[:20])
    by_hand.agrees(t.model.layer)


class Watched(um.Trainer):
    """Counts how often its step is traced, and reports what it sees."""

    traces = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        self.temperature = um.Scalar(0.5)
        self.factor = 2.0
        super().__init__(*args, **options)

    def step(self, batch: Any) -> dict[str, Any]:
        type(self).traces += 1
        logs = super().step(batch)
        return {**logs, "step": self.global_step, "epoch": self.epoch, "temperature": self.temperature * 1.0, "factor": um.ops.full((), self.factor)}


@pytest.fixture
def watched() -> Watched:
    Watched.traces = 0
    return Watched(um.nn.Linear(3, 1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy", precision="float64")


def test_host_scalars_change_without_tracing_anew(watched: Watched) -> None:
    for i, temperature in enumerate((0.5, 0.25, -3.0)):
        watched.temperature.value = temperature
        watched.optimizer.lr = 0.1 / (i + 1)
        logs = watched.train_step((X, Y))
        assert (float(logs["step"]), float(logs["temperature"])) == (i, temperature)
    history = watched.fit((X, Y), epochs=3, batch_size=10, verbose=False).history
    assert history["epoch"] == [0.0, 1.0, 2.0]
    assert watched.traces == 1
    watched.evaluate((X, Y))
    watched.predict(X)
    watched.fit((X, Y), validation_data=(X, Y), epochs=2, verbose=False)
    watched.stop_training = True
    watched.train_step((X, Y))
    assert watched.traces == 1


def test_learning_rate_is_no_constant_of_the_trace(watched: Watched) -> None:
    by_hand = Descent(watched.model.state_dict())
    for lr in (0.1, 0.01, 0.3):
        watched.optimizer.lr = by_hand.lr = lr
        watched.train_step((X, Y))
        by_hand.step(X, Y)
    by_hand.agrees(watched.model)
    assert watched.traces == 1


def test_a_plain_attribute_is_a_constant_and_changing_it_traces_anew(watched: Watched) -> None:
    assert float(watched.train_step((X, Y))["factor"]) == 2.0
    watched.factor = 5.0
    assert float(watched.train_step((X, Y))["factor"]) == 5.0
    assert watched.traces == 2
    watched.factor = 2.0
    assert float(watched.train_step((X, Y))["factor"]) == 2.0
    assert watched.traces == 2, "what was compiled before is found again"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: setattr(t.model[1], "p", 0.0),
        lambda t: t.model[1].eval(),
        lambda t: setattr(t.model[0].bias, "requires_grad", False),
        lambda t: setattr(t.loss, "reduction", "sum"),
        lambda t: t.optimizer.param_groups[0].__setitem__("weight_decay", 0.1),
        lambda t: setattr(t, "clip_grad_norm", 0.1),
    ],
    ids=["a layer's attribute", "a layer's mode", "frozen", "the loss's attribute", "an optimizer's option", "clipping"],
)
def test_whatever_a_step_takes_as_constant_is_noticed(change: Callable[[um.Trainer], Any]) -> None:
    """Changed between two steps, it acts as if it had been so from the beginning."""

    def run(before: bool) -> dict[str, np.ndarray]:
        t = trainer(um.nn.Sequential(um.nn.Linear(3, 4), um.nn.Dropout(0.5), um.nn.Linear(4, 1)), optimizer=um.optim.SGD(lr=0.0))
        if before:
            change(t)
        t.train_step((X, Y))
        if not before:
            change(t)
        t.optimizer.lr = 0.1
        start = t.model.state_dict()
        t.train_step((X, Y))
        return {name: value - start[name] for name, value in t.model.state_dict().items()}

    late, early, unchanged = run(False), run(True), {}
    t = trainer(um.nn.Sequential(um.nn.Linear(3, 4), um.nn.Dropout(0.5), um.nn.Linear(4, 1)), optimizer=um.optim.SGD(lr=0.0))
    t.train_step((X, Y))
    t.optimizer.lr = 0.1
    start = t.model.state_dict()
    t.train_step((X, Y))
    unchanged = {name: value - start[name] for name, value in t.model.state_dict().items()}
    assert all(np.array_equal(late[name], early[name]) for name in late)
    assert any(not np.array_equal(late[name], unchanged[name]) for name in late)
