"""Differentially private training (Abadi et al. 2016): no single sample moves the weights by more than it may, and noise hides what is left of it.

The step goes through the batch sample by sample, in a loop: each sample's gradient is clipped by its own norm before it is added up. Prints the test accuracy with
and without privacy.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import unimodel as um


class Private(um.Trainer):
    largest_norm = 1.0
    noise = 0.5

    def step(self, batch):
        parameters = list(self.model.parameters())

        def sample(sums, xy):
            x, y = (t[None] for t in xy)
            loss, grads = um.value_and_grad(lambda: self.loss(self.model(x), y), wrt=parameters)
            norm = um.ops.sqrt(sum(um.ops.sum(g * g) for g in grads))
            scale = um.ops.minimum(self.largest_norm / (norm + 1e-6), 1.0)
            return [s + scale * g for s, g in zip(sums, grads, strict=True)], loss

        sums, losses = um.ops.scan(sample, [um.ops.zeros(p.shape) for p in parameters], batch)
        blurred = [s + um.ops.random.normal(s.shape, 0.0, self.noise * self.largest_norm) for s in sums] if self.noise else sums
        self.optimizer.update([s / losses.shape[0] for s in blurred])
        return {"loss": um.ops.mean(losses)}


def trainer(kind=Private, **options):
    network = um.nn.Sequential(um.nn.Linear(64, 32), um.nn.Tanh(), um.nn.Linear(32, 10))
    return kind(network, um.losses.CrossEntropyLoss(), um.optim.SGD(lr=0.5, momentum=0.9), **options)


def digits():
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images / 16, labels, test_size=0.25, random_state=0, stratify=labels)


def main(epochs=5):
    x, x_test, y, y_test = digits()
    runs = [trainer(), trainer(um.Trainer)]
    for run in runs:
        run.fit((x, y), epochs=epochs, batch_size=64)
    private, usual = (float((run.predict(x_test).argmax(1) == y_test).mean()) for run in runs)
    print(f"{runs[0].backend}: test accuracy {private:.4f} with privacy, {usual:.4f} without")


if __name__ == "__main__":
    main()
