"""What PyTorch, Keras and NumPy call by another name, or do in another way: by module or kind of object, each name and what to write here.

Only what cannot be found by looking stands here: a name that is in another module of ours, or is merely misspelt, ``unimodel.names`` finds by itself. A test checks
that none of these names exists, and that everything they point to does.
"""

from __future__ import annotations

_DEVICE = "nothing is moved by hand: um.Trainer(net, ..., device=…) says where everything is"
_DTYPE = "a dtype is its name, such as 'float32'"
_ARRAYS = "NumPy arrays are taken as they are, as are tensors of any framework; inside forward, um.ops.asarray(array)"
_NO_GRAD = "nothing is needed: gradients are taken where um.value_and_grad asks for them, and evaluate and predict take none"
_GRADIENTS = (
    "loss, grads = um.value_and_grad(lambda: …, wrt=net.parameters()) in Trainer.step, then self.optimizer.update(grads); or leave it to um.Trainer's own step"
)
_SAVE = "trainer.save(path) and trainer.load(path) keep everything that training needs; net.state_dict() gives NumPy arrays"
_BATCHES = "any iterable of batches can be given to fit, PyTorch's DataLoader too, and arrays: trainer.fit((x, y), batch_size=32)"
_SCHEDULE = "um.optim.lr_scheduler has the schedules, with PyTorch's names"
_TRAINER = "um.Trainer(net, loss=…, optimizer=…) has it: trainer.{}"
_SAME = "traced tensors never change, so no copy is needed: use the tensor itself"
_CALLBACK = "write a subclass of um.callbacks.Callback with on_epoch_end(self, trainer, epoch, logs)"

FOREIGN: dict[str, dict[str, str]] = {
    "um": {
        "Module": "it is um.Model here",
        "functional": "it is um.nn.functional here",
        "layers": "they are in um.nn, with PyTorch's names",
        "keras": "layers are in um.nn, losses in um.losses, with PyTorch's names",
        "optimizers": "they are in um.optim",
        "loss": "losses are in um.losses, with PyTorch's names",
        "optimizer": "they are in um.optim",
        "trainer": "it is um.Trainer here",
        "model": "it is um.Model here",
        **dict.fromkeys(("tensor", "as_tensor", "from_numpy", "array", "convert_to_tensor"), _ARRAYS),
        **dict.fromkeys(("no_grad", "inference_mode", "enable_grad", "set_grad_enabled"), _NO_GRAD),
        **dict.fromkeys(("grad", "autograd", "GradientTape"), _GRADIENTS),
        **dict.fromkeys(("save", "load"), _SAVE),
        **dict.fromkeys(("manual_seed", "seed", "set_random_seed", "random_seed"), "um.Trainer(..., seed=0): weights, order and masks follow from it"),
        **dict.fromkeys(("device", "cuda", "to", "set_default_device"), _DEVICE),
        **dict.fromkeys(("float32", "float64", "float16", "bfloat16", "int64", "int32", "long", "double"), _DTYPE),
        **dict.fromkeys(("compile", "jit", "function"), "um.Trainer compiles its step by itself; compile= chooses a compiler of the framework's own"),
        **dict.fromkeys(("utils", "data", "DataLoader", "Dataset", "TensorDataset"), _BATCHES),
        **dict.fromkeys(("schedulers", "lr_scheduler"), _SCHEDULE),
    },
    "um.nn": {
        "init": "it is um.init here",
        "Dense": "it is um.nn.Linear(in_features, out_features) here; an activation is a layer of its own",
        "Conv1D": "it is um.nn.Conv1d(in_channels, out_channels, kernel_size) here",
        "Conv2D": "it is um.nn.Conv2d(in_channels, out_channels, kernel_size) here; images are (N, C, H, W)",
        "Conv3D": "it is um.nn.Conv3d(in_channels, out_channels, kernel_size) here",
        "Conv2DTranspose": "it is um.nn.ConvTranspose2d here",
        "MaxPooling2D": "it is um.nn.MaxPool2d here",
        "AveragePooling2D": "it is um.nn.AvgPool2d here",
        "GlobalAveragePooling2D": "um.nn.AdaptiveAvgPool2d(1), then um.nn.Flatten()",
        "GlobalMaxPooling2D": "um.nn.AdaptiveMaxPool2d(1), then um.nn.Flatten()",
        "BatchNormalization": "it is um.nn.BatchNorm1d or um.nn.BatchNorm2d here, by the dimensions of what comes in",
        "LayerNormalization": "it is um.nn.LayerNorm here",
        "Activation": "an activation is a layer of its own, um.nn.ReLU(), or an op, um.ops.relu(x)",
        "Input": "nothing is declared: sizes follow from the first batch, and layers are given theirs",
        "Lambda": "write a um.Model with forward(self, x), or call the function in forward",
        "Add": "write a + b in forward",
        "Concatenate": "um.ops.concat([a, b], axis=1) in forward",
        "SimpleRNN": "it is um.nn.RNN here",
        "UpSampling2D": "it is um.nn.Upsample here",
        "Swish": "it is um.nn.SiLU here",
        "DataLoader": _BATCHES,
    },
    "um.ops": {
        **dict.fromkeys(("cat", "concatenate"), "it is um.ops.concat here"),
        **dict.fromkeys(("mm", "bmm", "dot", "mv", "inner"), "it is um.ops.matmul here"),
        "addmm": "write c + um.ops.matmul(a, b)",
        "baddbmm": "write c + um.ops.matmul(a, b)",
        "mul": "it is um.ops.multiply here, or a * b",
        "div": "it is um.ops.divide here, or a / b",
        "sub": "it is um.ops.subtract here, or a - b",
        "neg": "it is um.ops.negative here, or -x",
        "power": "it is um.ops.pow here, or a ** b",
        "absolute": "it is um.ops.abs here",
        "rint": "it is um.ops.round here",
        **{theirs: f"it is um.ops.{ours} here" for theirs, ours in (("eq", "equal"), ("ne", "not_equal"), ("gt", "greater"), ("ge", "greater_equal"), ("lt", "less"), ("le", "less_equal"))},
        "permute": "it is um.ops.permute_dims here",
        "transpose": "um.ops.swapaxes(x, 0, 1) is PyTorch's, um.ops.permute_dims(x, axes) NumPy's",
        "t": "it is um.ops.matrix_transpose here",
        "view": "it is um.ops.reshape here",
        "unsqueeze": "it is um.ops.expand_dims(x, axis) here",
        "norm": "it is um.ops.vector_norm or um.ops.matrix_norm here",
        "softmax_cross_entropy_with_logits": "it is um.losses.CrossEntropyLoss()(logits, target) here",
        "fmod": "um.ops.remainder has the divisor's sign, as Python's %; for the dividend's, x - um.ops.trunc(x / y) * y",
        "where_": "it is um.ops.where here",
        **dict.fromkeys(("tensor", "as_tensor", "from_numpy", "array", "convert_to_tensor"), _ARRAYS),
        **dict.fromkeys(("no_grad", "grad"), _NO_GRAD),
    },
    "um.losses": {
        "BinaryCrossentropy": "it is um.losses.BCELoss here, or um.losses.BCEWithLogitsLoss",
        "BinaryCrossEntropy": "it is um.losses.BCELoss here, or um.losses.BCEWithLogitsLoss",
        "CategoricalCrossentropy": "it is um.losses.CrossEntropyLoss here, which takes logits, and probabilities as targets",
        "SparseCategoricalCrossentropy": "it is um.losses.CrossEntropyLoss here, which takes logits, and class indices as targets",
        "MeanSquaredError": "it is um.losses.MSELoss here",
        "MeanAbsoluteError": "it is um.losses.L1Loss here",
        "Huber": "it is um.losses.HuberLoss here",
        "KLDivergence": "it is um.losses.KLDivLoss here",
        "cross_entropy": "it is um.losses.CrossEntropyLoss()(input, target) here",
        "mse_loss": "it is um.losses.MSELoss()(input, target) here",
        "Loss": "it is um.Loss here",
    },
    "um.optim": {
        "schedulers": _SCHEDULE,
        "schedules": _SCHEDULE,
    },
    "um.optim.lr_scheduler": {
        "CosineDecay": "it is um.optim.lr_scheduler.CosineAnnealingLR here",
        "ExponentialDecay": "it is um.optim.lr_scheduler.ExponentialLR here",
        "WarmupCosine": "um.optim.lr_scheduler.SequentialLR of a LinearLR and a CosineAnnealingLR",
    },
    "um.metrics": {
        "AUC": "it is um.metrics.AUROC here",
        "F1": "it is um.metrics.F1Score here",
        "MSE": "it is um.metrics.MeanSquaredError here",
        "MAE": "it is um.metrics.MeanAbsoluteError here",
        "R2": "it is um.metrics.R2Score here",
        **dict.fromkeys(
            ("CategoricalAccuracy", "SparseCategoricalAccuracy", "BinaryAccuracy"), "it is um.metrics.Accuracy here, for scores (N, C) and for logits of two classes"
        ),
    },
    "um.callbacks": {
        "LearningRateScheduler": _SCHEDULE,
        "ReduceLROnPlateau": "it is um.optim.lr_scheduler.ReduceLROnPlateau here",
        **dict.fromkeys(("TensorBoard", "CSVLogger", "LambdaCallback"), _CALLBACK),
    },
    "um.init": {},
    "Tensor": {
        **dict.fromkeys(("backward", "grad", "requires_grad_", "retain_grad", "register_hook"), _GRADIENTS),
        **dict.fromkeys(("cuda", "cpu", "device", "is_cuda"), _DEVICE),
        **dict.fromkeys(("clone", "copy", "copy_"), _SAME),
        "tolist": "return the tensor from step(), and read it from what train_step or fit gives back",
        "int": "it is x.astype('int32') here",
        "short": "it is x.astype('int32') here",
        "half": "precision='fp16-mixed' of the Trainer chooses dtypes",
        "bfloat16": "precision='bf16-mixed' of the Trainer chooses dtypes",
        "nelement": "it is x.numel() here",
        "addmm": "write c + a @ b",
        "is_floating_point": "x.dtype is a text: x.dtype.startswith('float')",
        "values": "as a pair: values, indices = um.ops.topk(x, k)",
    },
    "Model": {
        **dict.fromkeys(("cuda", "cpu", "to", "device"), _DEVICE),
        **dict.fromkeys(("half", "double", "float", "bfloat16"), "um.Trainer(net, ..., precision=…) chooses dtypes: 'float32', 'float64', 'bf16-mixed' …"),
        "register_buffer": "assign it: self.name = um.Buffer(array), and self.name = value in forward sets it",
        "register_parameter": "assign it: self.name = um.Parameter(shape)",
        **dict.fromkeys(("register_module", "add_module"), "assign it: self.name = layer; or keep layers in um.nn.ModuleList or um.nn.ModuleDict"),
        **dict.fromkeys(("zero_grad", "backward"), _GRADIENTS),
        **{name: _TRAINER.format(how) for name, how in {"fit": "fit((x, y))", "evaluate": "evaluate((x, y))", "predict": "predict(x)", "train_on_batch": "train_step((x, y))"}.items()},
        "compile": "give loss and optimizer to um.Trainer(net, loss=…, optimizer=…, metrics=[…])",
        "save": "trainer.save(path); or safetensors.numpy.save_file(net.state_dict(), path) for the weights alone",
        **dict.fromkeys(("save_weights", "get_weights"), "net.state_dict() gives NumPy arrays"),
        "load": "net.load_state_dict(arrays, or the path of a safetensors file)",
        **dict.fromkeys(("load_weights", "set_weights"), "net.load_state_dict(arrays, or the path of a safetensors file)"),
        "summary": "print(net) shows its layers",
        "add": "give the layers to um.nn.Sequential(…), or append them",
        **dict.fromkeys(("register_forward_hook", "register_full_backward_hook"), "forward is plain Python: return what you want to see, or write a um.Model around the layer"),
        "trainable": "net.requires_grad_(False) freezes it",
        "trainable_weights": "it is [p for p in net.parameters() if p.requires_grad] here",
        "weights": "it is net.parameters() here",
        "layers": "it is net.children() here",
    },
    "Optimizer": {
        "zero_grad": "leave it out: gradients are computed anew in each step, and never add up",
        "step": "self.optimizer.update(grads) in Trainer.step, with grads from um.value_and_grad; or leave it to um.Trainer's own step",
        **dict.fromkeys(("minimize", "apply_gradients"), "self.optimizer.update(grads) in Trainer.step, with grads from um.value_and_grad"),
        **dict.fromkeys(("state_dict", "load_state_dict", "state"), "trainer.save(path) and trainer.load(path) keep its state"),
        "learning_rate": "it is lr here",
        "add_param_group": "give all groups when it is made: um.optim.SGD([{'params': …, 'lr': …}, …])",
    },
    "Trainer": {
        "compile": "give loss, optimizer and metrics when it is made: um.Trainer(net, loss=…, optimizer=…, metrics=[…])",
        **dict.fromkeys(("state_dict", "load_state_dict"), "it is trainer.model.state_dict() here, for the weights; trainer.save(path) keeps everything"),
        **dict.fromkeys(("test", "validate"), "it is trainer.evaluate((x, y)) here"),
        "train": "it is trainer.fit((x, y)) here",
        "train_on_batch": "it is trainer.train_step((x, y)) here",
        "summary": "print(trainer.model) shows the layers",
        "lr": "it is trainer.optimizer.lr here",
        "history": "fit returns it: history = trainer.fit(…)",
    },
}  # fmt: skip  # a table reads better in rows
"""By module, or kind of object: each name, and what to write instead."""
