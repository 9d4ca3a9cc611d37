"""The reference against the known answers that the Rust code is held to: one client of each kind of graph."""
import hashlib
import json
import pathlib
import unittest

import numpy as np

from reference import secagg_ref as reference

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "secagg" / "tests" / "vectors"


class Reference(unittest.TestCase):
    def session(self, name):
        session = json.loads((VECTORS / f"10_session_{name}.json").read_text())
        known = session["policy"]
        policy = reference.Policy(bytes.fromhex(known["task_pk"]), bytes.fromhex(known["model_digest"]),
                                  [(vector["name"], int(vector["length"])) for vector in known["vectors"]], int(known["last_round"]))
        client = next(client for client in session["clients"] if client["shown"])
        messages = client["messages"]
        self.assertIn("reveal", messages, "this client finished its session")
        device = reference.Client(bytes.fromhex(client["id_seed"]), bytes.fromhex(client["rng_seed"]), policy)
        down = lambda message: bytes.fromhex(messages[message]["hex"])
        vectors = [np.frombuffer(bytes.fromhex(vector), "<u4") for vector in client["x"]]

        config = bytes.fromhex(session["config"]) + bytes.fromhex(session["config_signature"])
        answers = {
            "advertise_keys": device.handle(0, config, 0),
            "share_keys": device.handle(1, (session["graph"], down("roster")), 0),
            "masked_input": device.handle(2, down("shares"), 0, vectors),
            "statement": device.handle(3, down("survivors"), 0),
            "reveal": device.handle(4, down("signatures"), 0),
        }
        for message, answer in answers.items():
            self.assertEqual(hashlib.sha256(answer).hexdigest(), messages[message]["sha256"], message)

    def test_a_complete_graph(self):
        self.session("n12")

    def test_a_sparse_graph(self):
        self.session("n140")
