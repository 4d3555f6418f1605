"""REINFORCE (Williams 1992) learns to balance a pole on a cart.

The environment is NumPy: the cart-pole equations of Barto, Sutton & Anderson (1983), many carts at once. The policy's forward and its update run on the backend.
Prints for how many steps of 100 the pole stands, at first and at last.
"""

import numpy as np

import unimodel as um

HORIZON = 100


class CartPoles:
    """Some carts, each with its own pole. A state is (position, velocity, angle, angular velocity); an episode ends beyond 2.4 m or 12 degrees."""

    def __init__(self, count, rng):
        self.states = rng.uniform(-0.05, 0.05, (count, 4))
        self.alive = np.ones(count, bool)

    def push(self, right):
        position, velocity, angle, spin = self.states.T
        force = np.where(right, 10.0, -10.0)
        sine, cosine = np.sin(angle), np.cos(angle)
        pushed = (force + 0.05 * spin**2 * sine) / 1.1
        turn = (9.8 * sine - cosine * pushed) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
        speed_up = pushed - 0.05 * turn * cosine / 1.1
        self.states = self.states + 0.02 * np.stack([velocity, speed_up, spin, turn], axis=1)
        self.alive &= (np.abs(self.states[:, 0]) < 2.4) & (np.abs(self.states[:, 2]) < np.deg2rad(12))


class Reinforce(um.Trainer):
    def step(self, batch):
        states, actions, advantages = batch

        def objective():
            chosen = um.ops.take_along_axis(um.ops.log_softmax(self.model(states), axis=-1), actions[:, None], axis=1)[:, 0]
            return -um.ops.mean(chosen * advantages)

        loss, grads = um.value_and_grad(objective, wrt=self.model.parameters())
        self.optimizer.update(self.clip(grads))
        return {"loss": loss}


def trainer(**options):
    policy = um.nn.Sequential(um.nn.Linear(4, 32), um.nn.Tanh(), um.nn.Linear(32, 2))
    return Reinforce(policy, optimizer=um.optim.Adam(lr=2e-2), clip_grad_norm=1.0, **options)


def episodes(policy, rng, count=32):
    """Episodes under the policy: a batch for the step, of one length whatever happened, and the mean length of an episode."""
    carts, seen, done, rewards = CartPoles(count, rng), [], [], []
    for _ in range(HORIZON):
        logits = np.asarray(policy(carts.states), "float64")
        right = rng.random(count) < 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        seen.append(carts.states)
        done.append(right)
        rewards.append(carts.alive.astype("float64"))
        carts.push(right)
    rewards = np.array(rewards)
    to_go = rewards[::-1].cumsum(0)[::-1]  # what is still to come, which is all that an action can change
    baseline = (to_go * rewards).sum(1, keepdims=True) / np.maximum(rewards.sum(1, keepdims=True), 1)
    advantages = (to_go - baseline) * rewards
    advantages = advantages / (np.sqrt((advantages**2).sum() / rewards.sum()) + 1e-8)
    return (np.concatenate(seen), np.concatenate(done).astype("int64"), advantages.reshape(-1)), rewards.sum(0).mean()


def main(updates=40):
    agent, rng = trainer(), np.random.default_rng(0)
    lengths = []
    for _ in range(updates):
        batch, length = episodes(agent.model, rng)
        agent.train_step(batch)
        lengths.append(length)
    print(f"{agent.backend}: the pole stands for {np.mean(lengths[:3]):.1f} steps at first, {np.mean(lengths[-3:]):.1f} of {HORIZON} at last")


if __name__ == "__main__":
    main()
