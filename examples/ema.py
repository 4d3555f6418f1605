"""An exponential moving average of the weights, kept beside them (Polyak & Juditsky 1992), and used to predict.

The average is a second model without an optimizer; the step moves it after the update, so it sees the new weights. Prints the test accuracies of both.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import unimodel as um


class Averaging(um.Trainer):
    decay = 0.98

    def step(self, batch):
        x, y = batch
        network, average = self.models["network"], self.models["average"]
        loss, grads = um.value_and_grad(lambda: self.loss(network(x), y), wrt=network.parameters())
        self.optimizers["network"].update(grads)
        for new, mean in zip(network.parameters(), average.parameters(), strict=True):
            mean.assign(self.decay * mean + (1.0 - self.decay) * new)
        return {"loss": loss}


def network():
    return um.nn.Sequential(um.nn.Linear(64, 32), um.nn.ReLU(), um.nn.Linear(32, 10))


def trainer(**options):
    models = {"network": network(), "average": network()}
    made = Averaging(models, um.losses.CrossEntropyLoss(), {"network": um.optim.SGD(lr=0.5)}, **options)
    models["average"].load_state_dict(models["network"].state_dict())
    return made


def digits():
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images / 16, labels, test_size=0.5, random_state=0, stratify=labels)


def main(epochs=20):
    x, x_test, y, y_test = digits()
    averaging = trainer()
    loss = averaging.fit((x, y), epochs=epochs, batch_size=32).history["loss"][-1]
    last, mean = (float((averaging.models[name](x_test).argmax(1) == y_test).mean()) for name in ("network", "average"))
    print(f"{averaging.backend}: loss {loss:.4f}, test accuracy {last:.4f}, of the average {mean:.4f}")


if __name__ == "__main__":
    main()
