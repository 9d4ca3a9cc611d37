"""What docs/protocol/calls.md says about calls outside of a round: enrollment, tokens, limits, downloads."""
import json
import time
import unittest
import urllib.error
import urllib.request

import model
from enrollment import Identity
from reference import secagg_ref as reference
from wire import PROTOCOL, Line, Refused, messages

SPEC = model.mlp(inputs=16, hidden=[9], labels=["left", "right", "none"])


class Calls(unittest.TestCase):
    coordinator = None     # run.py puts one here

    def refused(self, code, line, service, method, request):
        with self.assertRaises(Refused) as raised:
            line.call(service, method, request)
        self.assertEqual(raised.exception.code, code, raised.exception)
        line.close()

    def device(self):
        identity = Identity(self.coordinator.address, self.coordinator.enroll_token)
        return identity, Line(self.coordinator.address, identity.token)

    def enroll(self, seed, signer, token=None):
        token = token or self.coordinator.enroll_token
        public = reference.ed_public(seed)
        signature = reference.ed_sign(signer, b"FLSA1/enroll" + reference.H(token.encode()) + public)
        return messages.EnrollRequest(protocol=PROTOCOL, enroll_token=token, identity_key=public, signature=signature)

    def test_the_same_key_is_the_same_device(self):
        line = Line(self.coordinator.address)
        seed = reference.H(b"one key")
        first, second = (line.call("Enrollment", "Enroll", self.enroll(seed, seed)) for _ in range(2))
        line.close()
        self.assertEqual((len(first.device_id), first.device_id), (16, second.device_id))
        self.assertEqual(first.task_key, second.task_key)

    def test_the_answer_says_when_the_token_ends(self):
        days = (Identity(self.coordinator.address, self.coordinator.enroll_token).token_ends_ms / 1000 - time.time()) / 86_400
        self.assertAlmostEqual(days, 400, delta=1)

    def test_another_key_cannot_sign_for_it(self):
        request = self.enroll(reference.H(b"one key"), reference.H(b"another"))
        self.refused("bad_signature", Line(self.coordinator.address), "Enrollment", "Enroll", request)

    def post(self, path, person):
        url = f"http://{self.coordinator.address}/api/v1{path}"
        headers = {"authorization": f"Bearer {person}"}
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers, method="POST"), timeout=30)

    def test_a_person_who_has_signed_in_enrolls_one_installation(self):
        with self.post("/devices/enrollment", self.coordinator.person_token("interop")) as answer:
            self.assertEqual(answer.status, 201)
            token = json.load(answer)["token"]
        ours, other = reference.H(b"the person's phone"), reference.H(b"somebody else's phone")
        line = Line(self.coordinator.address)
        first, again = (line.call("Enrollment", "Enroll", self.enroll(ours, ours, token)) for _ in range(2))
        self.assertEqual(first.device_id, again.device_id)
        self.refused("used_token", line, "Enrollment", "Enroll", self.enroll(other, other, token))
        line = Line(self.coordinator.address, again.device_token)
        answer = line.call("Rounds", "CheckIn", messages.CheckInRequest(protocol=PROTOCOL, model_families=["mlp"]))
        self.assertTrue(answer.WhichOneof("answer"))
        line.close()

    def test_there_are_five_enrollment_tokens_a_day(self):
        person = self.coordinator.person_token("interop five")
        for _ in range(5):
            self.post("/devices/enrollment", person).close()
        with self.assertRaises(urllib.error.HTTPError) as raised:
            self.post("/devices/enrollment", person)
        self.assertEqual((raised.exception.code, json.load(raised.exception)["code"]), (429, "too_many_enrollment_tokens"))
        self.assertAlmostEqual(int(raised.exception.headers["retry-after"]), 86_400, delta=60)

    def test_a_call_without_its_token(self):
        request = messages.CheckInRequest(protocol=PROTOCOL)
        self.refused("missing_token", Line(self.coordinator.address), "Rounds", "CheckIn", request)

    def test_another_protocol(self):
        _, line = self.device()
        self.refused("unsupported_protocol", line, "Rounds", "CheckIn", messages.CheckInRequest(protocol=2))

    def test_the_limits_of_a_piece_and_of_a_message(self):
        for size, code in [((1 << 20) + 1, "invalid_argument"), (4 << 20, "message_too_large")]:
            request = messages.UploadRequest(protocol=PROTOCOL, session_handle=bytes(16), total=8 << 20,
                                             digest=bytes(32), data=bytes(size))
            _, line = self.device()
            self.refused(code, line, "Rounds", "UploadMasked", request)
        request.data = bytes(1 << 20)
        _, line = self.device()
        self.refused("unknown_session", line, "Rounds", "UploadMasked", request)

    def test_the_limit_of_names(self):
        _, line = self.device()
        names = [f"task-{number}" for number in range(65)]
        self.refused("invalid_argument", line, "Rounds", "CheckIn", messages.CheckInRequest(protocol=1, tasks=names))

    def test_a_download_goes_on_where_it_stopped(self):
        self.coordinator.create_task(
            "download", model.zeros(SPEC), "--model", "mlp", "--inputs", "16", "--hidden", "9", "--labels",
            "left,right,none", "--max-weight", "50", "--privacy", "none", "--schedule", "manual")
        identity, line = self.device()
        published = line.call("Models", "GetManifest", messages.GetModelRequest(protocol=PROTOCOL, task="download"))
        line.close()
        with urllib.request.urlopen(published.url, timeout=30) as answer:
            whole, tag = answer.read(), answer.headers["ETag"]
        self.assertEqual((len(whole), reference.H(whole)), (published.bytes, published.digest))
        request = urllib.request.Request(published.url, headers={"Range": "bytes=100-", "If-Range": tag})
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.assertEqual((answer.status, answer.read()), (206, whole[100:]))
        with self.assertRaises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(published.url.split("?")[0], timeout=30)
        self.assertEqual((raised.exception.code, json.load(raised.exception)["code"]), (403, "url_unsigned"))
