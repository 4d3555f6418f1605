"""The founding example: a 10-20-1 network learns a linear map, 1,000 epochs of full-batch gradient descent.

python examples/regression.py                                 on the first backend installed
unimodel run examples/regression.py --backend mxnet           on another
unimodel compare examples/regression.py --backends torch,tensorflow,mxnet,numpy
"""

import numpy as np

import unimodel as um


class Regression(um.Model):
    def __init__(self):
        self.fc1 = um.nn.Linear(10, 20)
        self.fc2 = um.nn.Linear(20, 1)

    def forward(self, x):
        return self.fc2(um.ops.relu(self.fc1(x)))


rng = np.random.Generator(np.random.Philox(0))
x = rng.standard_normal((256, 10)).astype("float32")
y = (x @ rng.standard_normal((10, 1)) + 0.1 * rng.standard_normal((256, 1))).astype("float32")

trainer = um.Trainer(Regression(), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.01), metrics=[um.metrics.MeanAbsoluteError()])
history = trainer.fit((x[:192], y[:192]), epochs=1000, batch_size=192)
test = trainer.evaluate((x[192:], y[192:]))
print(f"{trainer.backend}: loss {history.history['loss'][-1]:.6f}, test loss {test['loss']:.6f}")
