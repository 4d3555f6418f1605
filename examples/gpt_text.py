"""A small GPT learns to write like scikit-learn's descriptions of its data sets, letter by letter, and writes some lines of its own.

Real text of 15,000 letters. On every backend it learns the same, and writes the same letters with the same seed: the weights live on the backend, tokens are
drawn by unimodel.

unimodel run examples/gpt_text.py --backend tensorflow        half a minute on a core; a number at the end is how many epochs, 12 if left out
"""

import sys

import numpy as np
from sklearn import datasets

import unimodel as um

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 12
LENGTH = 64
NAMES = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")


def next_letter(logits, target):
    return um.losses.CrossEntropyLoss()(um.ops.reshape(logits, (-1, logits.shape[-1])), um.ops.reshape(target, (-1,)))


text = "\n".join(getattr(datasets, f"load_{name}")().DESCR for name in NAMES)
letters = sorted(set(text))
codes = np.array([letters.index(letter) for letter in text])
windows = np.stack([codes[i : i + LENGTH + 1] for i in range(0, len(codes) - LENGTH, 16)])

net = um.models.GPT2LMHeadModel(vocab_size=len(letters), n_positions=LENGTH, n_embd=48, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
trainer = um.Trainer(net, loss=next_letter, optimizer=um.optim.AdamW(lr=4e-3, weight_decay=0.01), clip_grad_norm=1.0)
history = trainer.fit((windows[:, :-1], windows[:, 1:]), epochs=EPOCHS, batch_size=32)

prompt = [letters.index(letter) for letter in "The data set "]
written = net.generate(prompt, LENGTH - len(prompt), do_sample=True, temperature=0.7, top_k=20, seed=1)
losses = history.history["loss"]
print(f"{trainer.backend}: loss {losses[0]:.4f} -> {losses[-1]:.4f} for each of {len(text)} letters")
print("".join(letters[code] for code in written[0]))
