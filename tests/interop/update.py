"""What a device contributes: an update on the integer grid, and four exact counts or noise (docs/protocol/update.md)."""
import math
import secrets
from dataclasses import dataclass

import numpy as np

import noise
from reference import secagg_ref as reference

LOSS_UNIT = 1 / 16
MEAN_LOSS_MAX = 100.0


@dataclass
class Trained:
    """What training gives."""
    delta: np.ndarray        # weights after minus weights before, float32
    examples: int
    loss_sum: float          # of the examples, in nats
    correct: int


def quantize(trained, plan, config):
    """The two vectors in the order of the configuration, as signed integers."""
    noisy = config.mechanism == 1
    weight = plan.max_weight if noisy else min(trained.examples, plan.max_weight)
    norm = math.sqrt(sum(float(entry) ** 2 for entry in trained.delta))
    factor = min(config.clip / max(norm, config.clip), 1.0) * weight / plan.max_weight
    scaled = [np.float32(float(entry) * factor) for entry in trained.delta]
    uniforms = iter(lambda: secrets.randbits(64), None)
    update, _, _ = reference.stochastic_round(
        reference.to_grid(scaled, config.clip, config.grid), config.grid, uniforms)
    if noisy:
        return noise.add([update, [0] * 4], config)

    loss = min(max(trained.loss_sum, 0.0), MEAN_LOSS_MAX * trained.examples)
    counts = [math.floor(loss / LOSS_UNIT + 0.5), trained.correct, trained.examples]
    most = max(counts)
    if most > config.grid:
        counts = [(count * config.grid + most // 2) // most for count in counts]
    return [update, [weight, *counts]]


def residues(vectors):
    return [np.array([entry % 2**32 for entry in vector], np.uint32) for vector in vectors]
