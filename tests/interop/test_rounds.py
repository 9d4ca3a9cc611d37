"""Whole rounds of twelve devices against the real coordinator. Each ends with the sum recovered from the published model
and compared, integer by integer, with what the devices put in."""
import threading
import unittest
import urllib.request

import numpy as np

import model
import noise
from device import Device, Lost
from enrollment import Identity
from update import LOSS_UNIT, Trained
from wire import PROTOCOL, Line, messages

DEVICES = 12
MAX_WEIGHT = 50
SPEC = model.mlp(inputs=16, hidden=[9], labels=["left", "right", "none"])
WITHIN_SECONDS = 60


class Crowd:
    """Twelve devices on threads of their own."""

    def __init__(self, coordinator, at):
        self.devices, self.outcomes = [], [None] * DEVICES
        for number in range(DEVICES):
            identity = Identity(coordinator.address, coordinator.enroll_token)
            moments = at.get(number, lambda moment: None)
            # Small pieces and large ones, so that uploads take one call or many.
            self.devices.append(Device(coordinator.address, identity, training(number), moments, 97 + 4096 * (number % 2)))

    def run(self, task):
        def one(number):
            try:
                self.outcomes[number] = self.devices[number].run(task)
            except Exception as error:  # the test looks at it, on its own thread
                self.outcomes[number] = error

        threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(DEVICES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WITHIN_SECONDS)


def training(number):
    """Stands for training: an update that is clipped for some devices, and counts that differ from device to device."""
    def train(round):
        rng = np.random.default_rng(number)
        delta = rng.normal(0, 0.3 + 0.1 * number, len(round.weights)).astype(np.float32)
        return Trained(delta, examples=5 + 7 * number, loss_sum=6.25 + number, correct=3 + number)
    return train


def losing(moment):
    def at(reached):
        if reached == moment:
            raise Lost(moment)
    return at


class Rounds(unittest.TestCase):
    coordinator = None     # run.py puts one here

    def round(self, task, at=None, survivors=range(DEVICES), done=range(DEVICES), privacy=("none",)):
        """A task that begins at zero, one round of it, and the proof that its sum is exact."""
        self.coordinator.create_task(
            task, model.zeros(SPEC), "--model", "mlp", "--inputs", "16", "--hidden", "9", "--labels", "left,right,none",
            "--goal", str(DEVICES), "--over-selection-permille", "1000", "--max-weight", str(MAX_WEIGHT),
            "--privacy", *privacy, "--schedule", "when-ready", "--stage-s", "10", "--training-s", "60", "--grace-s", "3")
        crowd = Crowd(self.coordinator, at or {})
        crowd.run(task)
        for number, outcome in enumerate(crowd.outcomes):
            expected = bytes if number in done else Lost
            self.assertIsInstance(outcome, expected, f"device {number}: {outcome!r}\n{self.coordinator.log()}")
        round_id = crowd.outcomes[min(done)]
        info = self.coordinator.finished(round_id, WITHIN_SECONDS)
        self.assertEqual(info.phase, "finished", f"{info.reason_code}: {info.reason}")
        self.assertEqual((info.cohort, info.survivors), (DEVICES, len(survivors)))
        device = crowd.devices[min(done)]
        self.exact(task, info, [crowd.devices[number].vectors for number in survivors], device)
        return device.round.config

    def exact(self, task, info, inputs, device):
        config = device.round.config
        update = np.sum([vectors[0] for vectors in inputs], axis=0)
        weight, loss, correct, examples = (int(total) for total in np.sum([vectors[1] for vectors in inputs], axis=0))
        if config.mechanism == 1:
            # The counts are noise: everybody counts the same, and nothing is told about them.
            weight, loss, correct, examples = len(inputs) * MAX_WEIGHT, 0, 0, 0
        else:
            self.assertEqual(config.grid, int(np.ceil(64 * np.sqrt(config.dim))), "64 sqrt(d), d of both vectors")

        line = Line(self.coordinator.address, device.identity.token)
        published = line.call("Models", "GetManifest", messages.GetModelRequest(protocol=PROTOCOL, task=task))
        line.close()
        self.assertEqual(published.version, info.new_version)
        self.assertEqual(published.fingerprint, model.fingerprint(SPEC))
        with urllib.request.urlopen(published.url, timeout=30) as answer:
            weights = model.read(SPEC, answer.read()).astype(np.float64)

        # New weights = 0 + sum x C (1 + 2^-20) / S / (sum of weights / W), in float32.
        unit = config.clip * (1 + 2**-20) / config.grid * MAX_WEIGHT / weight
        np.testing.assert_array_equal(np.rint(weights / unit).astype(np.int64), update)
        # To the last bits of float32: even the factor 1 + 2^-20 shows.
        np.testing.assert_allclose(weights, update * unit, rtol=2**-22, atol=0)
        self.assertTrue(np.any(update), "a sum of zeros proves nothing")

        self.assertEqual(info.examples, examples)
        self.assertAlmostEqual(info.accuracy, correct / max(examples, 1), places=12)
        self.assertAlmostEqual(info.loss, loss * LOSS_UNIT / max(examples, 1), places=12)

    def test_twelve_devices_and_an_exact_sum(self):
        self.round("whole")

    def test_two_losses_and_an_exact_sum(self):
        lost_before, lost_after = 3, 8
        at = {lost_before: losing("shared"), lost_after: losing("uploaded")}
        survivors = [number for number in range(DEVICES) if number != lost_before]
        done = [number for number in survivors if number != lost_after]
        self.round("losses", at, survivors, done)

    def test_a_killed_coordinator_and_an_exact_sum(self):
        killed = threading.Event()

        def kill(moment):
            if moment == "half_uploaded":
                self.coordinator.kill()
                killed.set()
                self.coordinator.start()

        self.round("killed", {4: kill})
        self.assertTrue(killed.is_set(), "nothing was killed")

    def test_noise_of_twelve_devices_and_an_exact_sum(self):
        config = self.round("noise", privacy=("distributed", "--epsilon", "3.5", "--privacy-rounds", "1", "--rounds", "1"))
        self.assertAlmostEqual(noise.cost(config) / (config.rho * 2.0**-40), 1, places=6)
