"""A variational autoencoder of handwritten digits (Kingma & Welling 2014).

The encoder gives a distribution; a sample of it is drawn as mean + deviation x noise, so that gradients pass through the draw. Prints the bound on the negative log
likelihood of an image in nats (untrained it is above 64 x log 2 = 44.4), and its two parts.
"""

from sklearn.datasets import load_digits

import unimodel as um


class VAE(um.Model):
    def __init__(self, latent=8):
        self.encoder = um.nn.Sequential(um.nn.Linear(64, 64), um.nn.ReLU(), um.nn.Linear(64, 2 * latent))
        self.decoder = um.nn.Sequential(um.nn.Linear(latent, 64), um.nn.ReLU(), um.nn.Linear(64, 64))
        self.latent = latent

    def forward(self, x):
        code = self.encoder(x)
        mean, log_variance = code[:, : self.latent], code[:, self.latent :]
        z = um.ops.random.normal(mean.shape, mean, um.ops.exp(0.5 * log_variance))
        return self.decoder(z), mean, log_variance


class Bound(um.Trainer):
    def step(self, batch):
        (x,) = batch

        def objective():
            logits, mean, log_variance = self.model(x)
            reconstruction = um.ops.mean(um.ops.sum(um.ops.softplus(logits) - x * logits, axis=1))
            divergence = um.ops.mean(0.5 * um.ops.sum(mean * mean + um.ops.exp(log_variance) - 1.0 - log_variance, axis=1))
            return reconstruction + divergence, {"reconstruction": reconstruction, "divergence": divergence}

        (loss, parts), grads = um.value_and_grad(objective, wrt=self.model.parameters(), has_aux=True)
        self.optimizer.update(grads)
        return {"loss": loss, **parts}


def trainer(**options):
    return Bound(VAE(), optimizer=um.optim.Adam(lr=2e-3), **options)


def images():
    return load_digits().data / 16


def main(epochs=40):
    vae = trainer()
    history = vae.fit((images(),), epochs=epochs, batch_size=64).history
    last = {name: values[-1] for name, values in history.items()}
    print(f"{vae.backend}: {history['loss'][0]:.2f} -> {last['loss']:.2f} nats = {last['reconstruction']:.2f} + {last['divergence']:.2f}")


if __name__ == "__main__":
    main()
