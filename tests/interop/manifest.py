"""A manifest that a device has checked: the signed configuration, the plan, the model (docs/protocol/round-config.md)."""
import hashlib
import time
import urllib.request
from dataclasses import dataclass

import numpy as np

import model
import noise
from reference import secagg_ref as reference
from wire import messages

STATISTICS = 4


def now_ms():
    return time.time_ns() // 1_000_000


@dataclass
class Round:
    """Everything about one round that was signed, or follows from what was signed."""
    id: bytes
    config: reference.RoundConfig
    config_message: bytes        # canonical bytes and their signature, as the protocol's stage 0 takes them
    policy: reference.Policy
    plan: object
    weights: np.ndarray


def vectors(plan):
    return [("update", model.entries(plan.model)), ("statistics", STATISTICS)]


def check(manifest, task_key, last_round):
    """The signature comes first, then the plan that it covers, then the model; nothing is believed before."""
    claimed = reference.RoundConfig.decode(manifest.round_config)
    policy = reference.Policy(task_key, claimed.model_digest, claimed.vectors, last_round)
    config = reference.check_config(manifest.round_config, manifest.config_signature, policy, now_ms())

    assert hashlib.sha256(manifest.plan).digest() == config.plan_digest, "another plan than the signed one"
    plan = messages.Plan.FromString(manifest.plan)
    assert plan.fingerprint == model.fingerprint(plan.model), "the model flattens differently there"
    policy.vectors = vectors(plan)
    assert config.vectors == policy.vectors, "other vectors than the plan's"
    assert config.flatten == 0 and plan.max_weight <= config.grid
    assert plan.privacy.mode in ("none", "distributed") and not plan.privacy.clip_max, "this client knows no other noise"
    if config.mechanism == 1:
        assert noise.cost(config) <= config.rho * 2.0**-40, "the noise costs more than was signed"

    file = download(manifest.model_url, manifest.model_bytes, config.model_digest)
    return Round(manifest.round_id, config, manifest.round_config + manifest.config_signature, policy, plan,
                 model.read(plan.model, file))


def download(url, size, digest):
    with urllib.request.urlopen(url, timeout=30) as answer:
        file = answer.read(size + 1)
    assert len(file) == size and hashlib.sha256(file).digest() == digest, "another file than the signed one"
    return file
