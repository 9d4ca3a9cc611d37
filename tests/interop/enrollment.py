"""A new installation becomes a device, and asks for work (docs/protocol/calls.md)."""
import random
import secrets
import time

from reference import secagg_ref as reference
from wire import PROTOCOL, Line, messages


class Identity:
    """What an app keeps: its Ed25519 key for ever, its token until it ends, and the task key that it pins."""

    def __init__(self, address, enroll_token):
        self.seed = secrets.token_bytes(32)
        public = reference.ed_public(self.seed)
        signed = b"FLSA1/enroll" + reference.H(enroll_token.encode()) + public
        line = Line(address)
        answer = line.call("Enrollment", "Enroll", messages.EnrollRequest(
            protocol=PROTOCOL, enroll_token=enroll_token, identity_key=public,
            signature=reference.ed_sign(self.seed, signed)))
        line.close()
        self.token, self.task_key = answer.device_token, answer.task_key
        self.token_ends_ms = answer.expires_at_ms     # since 1970; enrolling again with the same key renews the token


def pause(wait):
    """Any moment of the window is right; a random one keeps a crowd apart."""
    time.sleep(random.uniform(wait.after_ms, wait.before_ms) / 1000)


def check_in(line, task, families):
    """The manifest of the round that this device was admitted to."""
    request = messages.CheckInRequest(protocol=PROTOCOL, tasks=[task], model_families=families)
    while True:
        answer = line.call("Rounds", "CheckIn", request)
        if answer.WhichOneof("answer") == "manifest":
            return answer.manifest
        pause(answer.wait)
