"""One device's way through one round: five stages, each one idempotent call (docs/protocol/calls.md)."""
import hashlib
import secrets

import manifest as manifests
import update
from enrollment import check_in, pause
from manifest import now_ms
from reference import secagg_ref as reference
from wire import PROTOCOL, Line, messages


class Lost(Exception):
    """The device falls silent, as a phone does whose battery is empty."""


class Device:
    """`at(moment)` is told how far the device has come, and may raise Lost. Moments: shared, half_uploaded, uploaded,
    agreed."""

    def __init__(self, address, identity, train, at=lambda moment: None, piece_bytes=512 << 10):
        self.identity, self.train, self.at, self.piece_bytes = identity, train, at, piece_bytes
        self.line = Line(address, identity.token)
        self.last_round = 0        # a real device keeps this for every task, durably
        self.round = None
        self.vectors = None        # what went into the sum, in clear: for the test alone

    def run(self, task):
        """Takes part in one round; returns its id once the shares are revealed."""
        offered = check_in(self.line, task, ["mlp"])
        round = manifests.check(offered, self.identity.task_key, self.last_round)
        self.round, self.last_round = round, round.config.round
        trained = self.train(round)

        protocol = reference.Client(self.identity.seed, secrets.token_bytes(32), round.policy)
        keys = protocol.handle(0, round.config_message, now_ms())
        down = self.stage("AdvertiseKeys", round.id, keys)
        assert down.stage == 1 and not down.certified
        session, form = down.session_handle, "sparse" if down.sparse else "complete"

        shares = protocol.handle(1, (form, down.payload), now_ms())
        down = self.stage("ShareKeys", session, shares)
        assert down.stage == 2
        self.at("shared")

        self.vectors = update.quantize(trained, round.plan, round.config)
        masked = protocol.handle(2, down.payload, now_ms(), update.residues(self.vectors))
        down = self.upload(session, masked)
        assert down.stage == 3
        self.at("uploaded")

        statement = protocol.handle(3, down.payload, now_ms())
        down = self.stage("ConfirmSurvivors", session, statement)
        assert down.stage == 4
        self.at("agreed")

        revealed = protocol.handle(4, down.payload, now_ms())
        assert self.stage("RevealShares", session, revealed) is None
        return round.id

    def stage(self, method, handle, payload):
        """Sends the same bytes until the stage has closed. Returns what opens the next one; None after the last."""
        request = messages.StageRequest(protocol=PROTOCOL, handle=handle, payload=payload)
        while True:
            answer = self.line.call("Rounds", method, request)
            kind = answer.WhichOneof("answer")
            if kind == "down":
                return answer.down
            if kind == "accepted":
                return None
            pause(answer.wait)

    def upload(self, session, masked):
        """Pieces from wherever the coordinator is, then empty ones until the survivors are known."""
        request = messages.UploadRequest(protocol=PROTOCOL, session_handle=session, total=len(masked),
                                         digest=hashlib.sha256(masked).digest())
        halfway = False
        while True:
            answer = self.line.call("Rounds", "UploadMasked", request)
            kind = answer.WhichOneof("answer")
            if kind == "down":
                return answer.down
            request.offset, request.data = 0, b""
            if kind == "received":
                request.offset = answer.received
                request.data = masked[answer.received:answer.received + self.piece_bytes]
                if not halfway and answer.received * 2 >= len(masked):
                    halfway = True
                    self.at("half_uploaded")
            elif kind == "wait":
                pause(answer.wait)
