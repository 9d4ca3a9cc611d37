"""Architectures: names and shapes in flattening order, the fingerprint, model files (docs/protocol/model.md)."""
import hashlib
import struct

import numpy as np
import safetensors.numpy

from wire import messages


def tensors(spec):
    """[(name, shape)] in flattening order."""
    classes = len(spec.labels)

    def linear(name, inputs, outputs):
        return [(f"{name}.weight", (inputs, outputs)), (f"{name}.bias", (outputs,))]

    def convolution(name, inputs, outputs):
        return [(f"{name}.weight", (outputs, inputs, 5, 5)), (f"{name}.bias", (outputs,))]

    family = spec.WhichOneof("family")
    if family == "text_bag":
        bag = spec.text_bag
        return [("embedding.weight", (bag.buckets, bag.dim))] + linear("output", bag.dim, classes)
    if family == "mlp":
        widths, out = [spec.mlp.inputs, *spec.mlp.hidden], []
        for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
            out += linear(f"hidden.{layer}", inputs, outputs)
        return out + linear("output", widths[-1], classes)
    cnn = spec.cnn
    flat = cnn.conv2 * (cnn.height // 4) * (cnn.width // 4)
    return (convolution("conv1", cnn.channels, cnn.conv1) + convolution("conv2", cnn.conv1, cnn.conv2)
            + linear("hidden", flat, cnn.hidden) + linear("output", cnn.hidden, classes))


def entries(spec):
    return sum(int(np.prod(shape)) for _, shape in tensors(spec))


def fingerprint(spec):
    """SHA-256 over parts, each behind its length as u64."""
    family = spec.WhichOneof("family")
    parts = [b"FLSA1/model", family.encode()]
    if family == "text_bag":
        parts += [struct.pack("<I", spec.text_bag.ngram_min), struct.pack("<I", spec.text_bag.ngram_max)]
    parts += [label.encode() for label in spec.labels]
    for name, shape in tensors(spec):
        parts += [name.encode(), *(struct.pack("<I", side) for side in shape)]
    return hashlib.sha256(b"".join(struct.pack("<Q", len(part)) + part for part in parts)).digest()


def read(spec, file):
    """The flat weights of a model file."""
    found = safetensors.numpy.load(file)
    expected = tensors(spec)
    assert set(found) == {name for name, _ in expected}, f"tensors of another model: {sorted(found)}"
    for name, shape in expected:
        assert found[name].dtype == np.float32 and found[name].shape == shape, f"{name}: {found[name].shape}"
    return np.concatenate([found[name].reshape(-1) for name, _ in expected])


def zeros(spec):
    """A model file whose weights are all zero, to start a task from."""
    return safetensors.numpy.save({name: np.zeros(shape, np.float32) for name, shape in tensors(spec)})


def mlp(inputs, hidden, labels):
    return messages.ModelSpec(labels=labels, mlp=messages.Mlp(inputs=inputs, hidden=hidden))
