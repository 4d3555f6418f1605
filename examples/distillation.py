"""Distillation: a small network learns from a large one's opinions as well as from the labels (Hinton et al. 2015).

The teacher is trained in the usual way. The student's step then asks it what it thinks of each image, at a temperature at which small probabilities count. Prints
the test accuracies of both, and of the same student taught by the labels alone.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import unimodel as um


def teacher():
    return um.nn.Sequential(um.nn.Linear(64, 128), um.nn.ReLU(), um.nn.Dropout(0.3), um.nn.Linear(128, 10))


def student():
    return um.nn.Sequential(um.nn.Linear(64, 8), um.nn.ReLU(), um.nn.Linear(8, 10))


class Distillation(um.Trainer):
    temperature = 3.0
    share = 0.7

    def step(self, batch):
        x, labels = batch
        opinion = um.ops.softmax(um.ops.stop_gradient(self.models["teacher"](x)) / self.temperature, axis=-1)

        def objective():
            logits = self.models["student"](x)
            agreement = -um.ops.mean(um.ops.sum(opinion * um.ops.log_softmax(logits / self.temperature, axis=-1), axis=-1))
            return self.share * self.temperature**2 * agreement + (1.0 - self.share) * self.loss(logits, labels)

        loss, grads = um.value_and_grad(objective, wrt=self.models["student"].parameters())
        self.optimizers["student"].update(grads)
        return {"loss": loss}


def trainer(large, **options):
    return Distillation({"teacher": large, "student": student()}, um.losses.CrossEntropyLoss(), {"student": um.optim.Adam(lr=3e-3)}, **options)


def digits():
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images / 16, labels, test_size=0.5, random_state=0, stratify=labels)


def accuracy(model, x, y):
    model.eval()
    return float((model(x).argmax(1) == y).mean())


def main(epochs=30):
    x, x_test, y, y_test = digits()
    large, alone = teacher(), student()
    for model in (large, alone):
        usual = um.Trainer(model, um.losses.CrossEntropyLoss(), um.optim.Adam(lr=3e-3))
        usual.fit((x, y), epochs=epochs, batch_size=64)
    scores = accuracy(large, x_test, y_test), accuracy(alone, x_test, y_test)
    distilled = trainer(large)
    distilled.fit((x, y), epochs=epochs, batch_size=64)
    taught = accuracy(distilled.models["student"], x_test, y_test)
    print(f"{distilled.backend}: test accuracy of the teacher {scores[0]:.4f}, of the student {taught:.4f}, alone {scores[1]:.4f}")


if __name__ == "__main__":
    main()
