"""A Wasserstein GAN with gradient penalty (Gulrajani et al. 2017): the loss contains a gradient, so training takes gradients of gradients.

The critic is updated several times a step, each time pulled towards slopes of length 1 between real and drawn images. Prints the critic's estimate of the distance
between the two, and the mean length of its slopes, which ends near 1.
"""

from sklearn.datasets import load_digits

import unimodel as um


class Generator(um.nn.Sequential):
    def __init__(self, noise=16):
        super().__init__(um.nn.Linear(noise, 64), um.nn.ReLU(), um.nn.Linear(64, 64), um.nn.Sigmoid())
        self.noise = noise


class Critic(um.nn.Sequential):
    def __init__(self):
        super().__init__(um.nn.Linear(64, 64), um.nn.SiLU(), um.nn.Linear(64, 1))


class WGAN(um.Trainer):
    critic_updates = 3
    penalty = 10.0

    def step(self, batch):
        (real,) = batch
        g, critic = self.models["generator"], self.models["critic"]

        def draw():
            return g(um.ops.random.normal((real.shape[0], g.noise)))

        for _ in range(self.critic_updates):
            drawn = um.ops.stop_gradient(draw())
            share = um.ops.random.uniform((real.shape[0], 1))
            between = share * real + (1.0 - share) * drawn

            def critic_loss(drawn=drawn, between=between):
                _, slopes = um.value_and_grad(lambda: um.ops.sum(critic(between)), wrt=between)
                lengths = um.ops.sqrt(um.ops.sum(slopes * slopes, axis=1) + 1e-12)
                estimate = um.ops.mean(critic(real)) - um.ops.mean(critic(drawn))
                return self.penalty * um.ops.mean((lengths - 1.0) ** 2) - estimate, (estimate, um.ops.mean(lengths))

            (loss_critic, (estimate, length)), grads = um.value_and_grad(critic_loss, wrt=critic.parameters(), has_aux=True)
            self.optimizers["critic"].update(grads)

        loss_g, grads = um.value_and_grad(lambda: -um.ops.mean(critic(draw())), wrt=g.parameters())
        self.optimizers["generator"].update(grads)
        return {"loss_critic": loss_critic, "loss_g": loss_g, "distance": estimate, "slope": length}


def trainer(**options):
    rates = {name: um.optim.Adam(lr=1e-3, betas=(0.5, 0.9)) for name in ("generator", "critic")}
    return WGAN({"generator": Generator(), "critic": Critic()}, optimizer=rates, **options)


def images():
    return load_digits().data / 16


def main(epochs=30):
    gan = trainer()
    history = gan.fit((images(),), epochs=epochs, batch_size=64).history
    print(f"{gan.backend}: distance {history['distance'][0]:.3f} -> {history['distance'][-1]:.3f}, slope {history['slope'][-1]:.3f}")


if __name__ == "__main__":
    main()
