"""A generative adversarial network draws handwritten digits (Goodfellow et al. 2014).

Two models, two optimizers, one step: the discriminator learns to tell real from drawn, then the generator learns to be taken for real. Prints how far drawn digits
are from the nearest real one, before and after: pixels are between 0 and 1, two real images of the same digit are some 1.5 apart.
"""

import numpy as np
from sklearn.datasets import load_digits

import unimodel as um


class Generator(um.nn.Sequential):
    def __init__(self, noise=16):
        super().__init__(um.nn.Linear(noise, 64), um.nn.ReLU(), um.nn.Linear(64, 64), um.nn.Sigmoid())
        self.noise = noise


class Discriminator(um.nn.Sequential):
    def __init__(self):
        super().__init__(um.nn.Linear(64, 64), um.nn.LeakyReLU(0.2), um.nn.Dropout(0.2), um.nn.Linear(64, 1))


class GAN(um.Trainer):
    def step(self, batch):
        (real,) = batch
        g, d = self.models["generator"], self.models["discriminator"]
        noise = um.ops.random.normal((real.shape[0], g.noise))

        def discriminator_loss():
            return um.ops.mean(um.ops.softplus(-d(real))) + um.ops.mean(um.ops.softplus(d(um.ops.stop_gradient(g(noise)))))

        loss_d, grads = um.value_and_grad(discriminator_loss, wrt=d.parameters())
        self.optimizers["discriminator"].update(grads)

        loss_g, grads = um.value_and_grad(lambda: um.ops.mean(um.ops.softplus(-d(g(noise)))), wrt=g.parameters())
        self.optimizers["generator"].update(grads)
        return {"loss_d": loss_d, "loss_g": loss_g}


def trainer(**options):
    rates = {"generator": um.optim.Adam(lr=1e-3, betas=(0.5, 0.999)), "discriminator": um.optim.Adam(lr=1e-3, betas=(0.5, 0.999))}
    return GAN({"generator": Generator(), "discriminator": Discriminator()}, optimizer=rates, **options)


def images():
    return load_digits().data / 16


def distance(generator, real):
    """The mean distance of 100 drawn images to the nearest real one."""
    noise = np.random.default_rng(1).standard_normal((100, generator.noise))
    drawn = generator(noise)
    return np.sqrt(((drawn[:, None] - real[None]) ** 2).sum(2)).min(1).mean()


def main(epochs=60):
    gan, real = trainer(), images()
    before = distance(gan.models["generator"], real)
    history = gan.fit((real,), epochs=epochs, batch_size=64).history
    after = distance(gan.models["generator"], real)
    print(f"{gan.backend}: loss_d {history['loss_d'][-1]:.3f}, loss_g {history['loss_g'][-1]:.3f}, distance to real digits {before:.2f} -> {after:.2f}")


if __name__ == "__main__":
    main()
