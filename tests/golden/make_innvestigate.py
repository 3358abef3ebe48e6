"""Make `innvestigate-preset-a-flat.npz`: what iNNvestigate's LRP-PresetAFlat says of a small DenseNet.

Not run by the tests. It needs an environment of its own, with a TensorFlow that iNNvestigate can work with::

    python3.10 -m venv /tmp/innvestigate
    /tmp/innvestigate/bin/pip install "tensorflow-cpu==2.14.1" "innvestigate==2.1.2"
    /tmp/innvestigate/bin/python tests/golden/make_innvestigate.py

The file holds the image, the network's weights by torchvision's names, the logits, and the map. Three choices make the two
packages comparable:

* BatchNorm gets iNNvestigate's own z-rule layer (the default of versions up to 1.0.8), given to it here as 2.1.2 gives its
  fused rule a wrong scale and bias; the axis, which recent Keras wraps into a list, is unwrapped.
* The pooling of the transition stands before its 1x1 convolution: the same function, and the form that is attributed here.
* The image has an odd side, for which Keras' `same` padding is the symmetric one; a ZeroPadding2D layer before the first
  convolution would silently switch the flat rule off.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from innvestigate.analyzer.relevance_based import relevance_analyzer as analyzers

GROWTH, BLOCKS, FIRST, BOTTLENECK, CLASSES, SIDE = 4, (2, 2), 6, 2, 3, 33
layers = tf.keras.layers


class ReverseBatchNorm(analyzers.BatchNormalizationReverseLayer):
    """The z-rule, with the axis as a number."""

    def __init__(self, layer: tf.keras.layers.Layer, state: object) -> None:
        super().__init__(layer, state)
        self._axis = int(np.ravel(self._axis)[0])


def main() -> None:
    """Build, attribute, write."""
    tf.compat.v1.disable_eager_execution()
    analyzers.BatchNormalizationReverseLayer = ReverseBatchNorm
    rng = np.random.default_rng(20)
    weights: dict[str, np.ndarray] = {}

    def conv(x: tf.Tensor, name: str, n_out: int, size: int, stride: int = 1) -> tf.Tensor:
        layer = layers.Conv2D(n_out, size, strides=stride, padding="same", use_bias=False)
        y = layer(x)
        kernel = rng.normal(0, np.sqrt(2 / (size * size * int(x.shape[-1]))), (n_out, int(x.shape[-1]), size, size))
        weights[f"{name}.weight"] = kernel.astype(np.float32)
        layer.set_weights([weights[f"{name}.weight"].transpose(2, 3, 1, 0)])
        return y

    def norm(x: tf.Tensor, name: str) -> tf.Tensor:
        layer = layers.BatchNormalization(epsilon=1e-5)
        y, n = layer(x), int(x.shape[-1])
        values = {
            "weight": rng.uniform(0.5, 1.3, n), "bias": rng.normal(0, 0.2, n),
            "running_mean": rng.normal(0, 0.2, n), "running_var": rng.uniform(0.5, 1.5, n),
        }  # fmt: skip
        for part, value in values.items():
            weights[f"{name}.{part}"] = value.astype(np.float32)
        layer.set_weights([weights[f"{name}.{part}"] for part in values])
        return y

    image = layers.Input((SIDE, SIDE, 3))
    x = layers.Activation("relu")(norm(conv(image, "features.conv0", FIRST, 7, 2), "features.norm0"))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for b, n_layers in enumerate(BLOCKS, start=1):
        for i in range(1, n_layers + 1):
            name = f"features.denseblock{b}.denselayer{i}"
            y = layers.Activation("relu")(norm(x, f"{name}.norm1"))
            y = conv(y, f"{name}.conv1", BOTTLENECK * GROWTH, 1)
            y = layers.Activation("relu")(norm(y, f"{name}.norm2"))
            x = layers.Concatenate()([x, conv(y, f"{name}.conv2", GROWTH, 3)])
        if b < len(BLOCKS):
            x = layers.Activation("relu")(norm(x, f"features.transition{b}.norm"))
            x = layers.AveragePooling2D(2)(x)
            x = conv(x, f"features.transition{b}.conv", int(x.shape[-1]) // 2, 1)
    x = layers.GlobalAveragePooling2D()(layers.Activation("relu")(norm(x, "features.norm5")))
    head = layers.Dense(CLASSES)
    logits = head(x)
    weights["classifier.weight"] = rng.normal(0, 0.7, (CLASSES, int(x.shape[-1]))).astype(np.float32)
    weights["classifier.bias"] = rng.normal(0, 0.1, CLASSES).astype(np.float32)
    head.set_weights([weights["classifier.weight"].T, weights["classifier.bias"]])

    model = tf.keras.Model(image, logits)
    picture = rng.normal(0, 1, (1, SIDE, SIDE, 3)).astype(np.float32)
    analyzer = analyzers.LRPSequentialPresetAFlat(model, bn_layer_rule=None)
    relevance = analyzer.analyze(picture)
    target = Path(__file__).with_name("innvestigate-preset-a-flat.npz")
    np.savez_compressed(
        target,
        image=picture.transpose(0, 3, 1, 2),
        relevance=relevance[0].sum(-1),
        channels=relevance[0],
        logits=model.predict(picture)[0],
        **{f"weight:{name}": value for name, value in weights.items()},
    )
    print(target, relevance.sum(), model.predict(picture)[0])


if __name__ == "__main__":
    main()
