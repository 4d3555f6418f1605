"""What one task taught helps with the next: weights go through a safetensors file into another model, and all but its last layer stay as they are.

LeNet-5 learns to read digits from 1,200 images. Its file is loaded into a LeNet-5 for another question, whether a digit is even, which is then answered from 40
images: once with what was learned, once from nothing.
"""

import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.datasets import load_digits

import unimodel as um

images, digits = load_digits(return_X_y=True)
images = np.kron(images.reshape(-1, 1, 8, 8) / 16, np.ones((4, 4), "float32"))  # 32 by 32, as LeNet-5 wants them
first, few, rest = slice(0, 1200), slice(1200, 1240), slice(1240, None)


def learn(net, labels, rows, epochs):
    optimizer = um.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=3e-3)
    trainer = um.Trainer(net, loss=um.losses.CrossEntropyLoss(), optimizer=optimizer, metrics=[um.metrics.Accuracy()])
    trainer.fit((images[rows], labels[rows]), epochs=epochs, batch_size=40, verbose=False)
    accuracy = trainer.evaluate((images[rest], labels[rest]))["accuracy"]
    return f"{trainer.backend}: {accuracy:.4f} right"


teacher = um.models.LeNet5(num_classes=10)
print(learn(teacher, digits, first, epochs=8), "which digit, after 1,200 images")

student = um.models.LeNet5(num_classes=2)
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "lenet5.safetensors"
    save_file(teacher.state_dict(), file)
    body = {name: array for name, array in load_file(file).items() if not name.startswith("fc3.")}  # the last layer has other sizes
um.models.load_weights(student, body, strict=False)
student.requires_grad_(False)
student.fc3.requires_grad_(True)

even = digits % 2
print(learn(student, even, few, epochs=60), "odd or even, after 40 images and what was learned before")
print(learn(um.models.LeNet5(num_classes=2), even, few, epochs=60), "odd or even, after 40 images")
