"""Gradient accumulation: a large batch in the memory of a small one.

The step goes through the batch in parts, in a loop that carries the sum of the gradients, and updates once. Prints how far the weights are from those of a usual
run with whole batches: nothing but rounding.
"""

import numpy as np
from sklearn.datasets import load_digits

import unimodel as um


class Accumulating(um.Trainer):
    parts = 8

    def step(self, batch):
        x, y = (um.ops.reshape(t, (self.parts, t.shape[0] // self.parts, *t.shape[1:])) for t in batch)
        parameters = list(self.model.parameters())

        def part(sums, xy):
            loss, grads = um.value_and_grad(lambda: self.loss(self.model(xy[0]), xy[1]), wrt=parameters)
            return [s + g for s, g in zip(sums, grads, strict=True)], loss

        sums, losses = um.ops.scan(part, [um.ops.zeros(p.shape) for p in parameters], (x, y))
        self.optimizer.update([s / self.parts for s in sums])
        return {"loss": um.ops.mean(losses)}


def network():
    return um.nn.Sequential(um.nn.Linear(64, 32), um.nn.Tanh(), um.nn.Linear(32, 10))


def trainer(kind=Accumulating, **options):
    return kind(network(), um.losses.CrossEntropyLoss(), um.optim.SGD(lr=0.5, momentum=0.9), **options)


def digits():
    images, labels = load_digits(return_X_y=True)
    return images[:1536] / 16, labels[:1536]


def main(epochs=5):
    runs = [trainer(), trainer(um.Trainer)]
    histories = [run.fit(digits(), epochs=epochs, batch_size=512).history["loss"] for run in runs]
    states = [run.model.state_dict() for run in runs]
    apart = max(float(np.abs(states[0][name] - states[1][name]).max()) for name in states[0])
    print(f"{runs[0].backend}: loss in parts {histories[0][-1]:.6f}, whole {histories[1][-1]:.6f}; weights at most {apart:.1e} apart")


if __name__ == "__main__":
    main()
