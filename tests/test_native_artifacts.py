"""``trainer.native()`` without unimodel: saved by the framework's own means, loaded where unimodel cannot be imported, the same predictions."""

import subprocess
import sys

import numpy as np
import pytest

import unimodel as um
from unimodel import plugins

SAVE = {
    "torch": "import torch; torch.save(native, path + '.pt')",
    "tensorflow": "import tensorflow as tf; tf.saved_model.save(native, path)",
    "mxnet": "native.export(path)",
}
LOAD = {
    "torch": "import torch\nmodule = torch.load(path + '.pt', weights_only=False)\ncall = lambda x: module(torch.from_numpy(x)).detach().numpy()",
    "tensorflow": "import tensorflow as tf\nmodule = tf.saved_model.load(path)\ncall = lambda x: module(x).numpy()",
    "mxnet": "np.bool = np.bool_\nimport mxnet as mx\ndel np.bool\n"
    "module = mx.gluon.SymbolBlock.imports(path + '-symbol.json', ['batch'], path + '-0000.params')\ncall = lambda x: module(mx.nd.array(x)).asnumpy()",
}


class Net(um.Model):
    def __init__(self):
        self.conv = um.nn.Conv2d(1, 4, 3, padding=1)
        self.norm = um.nn.BatchNorm2d(4)
        self.dropout = um.nn.Dropout(0.3)
        self.fc = um.nn.Linear(64, 3)

    def forward(self, x):
        x = um.ops.avg_pool2d(um.ops.relu(self.norm(self.conv(x))), 2)
        return self.fc(self.dropout(um.ops.flatten(x, 1)))


@pytest.mark.parametrize("backend", [b for b in plugins.names() if b in SAVE])
def test_it_predicts_the_same_where_unimodel_is_not_importable(tmp_path, backend):
    rng = np.random.Generator(np.random.Philox(0))
    x, y = rng.standard_normal((50, 1, 8, 8)).astype("float32"), rng.integers(0, 3, 50)
    trainer = um.Trainer(Net(), loss=um.losses.CrossEntropyLoss(), optimizer=um.optim.Adam(lr=0.01), backend=backend)
    trainer.fit((x, y), epochs=2, verbose=False)
    path = str(tmp_path / "artifact")
    exec(SAVE[backend], {"native": trainer.native(), "path": path})
    np.save(tmp_path / "x.npy", x)
    code = (
        f"import sys; sys.modules['unimodel'] = None\nimport numpy as np\npath = {path!r}\n{LOAD[backend]}\n"
        f"x = np.load({str(tmp_path / 'x.npy')!r})\n"
        f"np.savez({str(tmp_path / 'y.npz')!r}, all=call(x), few=call(x[:7]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)
    got = np.load(tmp_path / "y.npz")
    expected = trainer.predict(x)
    np.testing.assert_allclose(got["all"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got["few"], expected[:7], rtol=1e-5, atol=1e-6)
