"""Refusals as gRPC's own library for rich errors reads them (grpcio-status), and not only the plain metadata."""
import unittest

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from enrollment import Identity
from wire import PROTOCOL, Line, messages, services


class Errors(unittest.TestCase):
    coordinator = None     # run.py puts one here

    def failure(self, call):
        with self.assertRaises(grpc.RpcError) as raised:
            call()
        error = raised.exception
        status = rpc_status.from_call(error)     # raises where status and details do not say the same
        self.assertIsNotNone(status, error)
        found = {}
        for detail in status.details:
            for kind in (messages.ErrorDetail, error_details_pb2.RetryInfo):
                if detail.Is(kind.DESCRIPTOR):
                    found[kind] = kind()
                    detail.Unpack(found[kind])
        self.assertEqual(len(found), len(status.details), status)
        ours = found[messages.ErrorDetail]
        self.assertEqual((ours.code, ours.sentence),
                         (dict(error.trailing_metadata())["scale-error-code"], error.details()))
        return error, ours, found.get(error_details_pb2.RetryInfo)

    def rounds(self):
        line = Line(self.coordinator.address, Identity(self.coordinator.address, self.coordinator.enroll_token).token)
        self.addCleanup(line.close)
        return services.RoundsStub(line.channel), line.metadata

    def test_a_refusal_that_sends_the_device_to_check_in(self):
        stub, metadata = self.rounds()
        request = messages.StageRequest(protocol=PROTOCOL, handle=bytes(16))
        error, ours, retry = self.failure(lambda: stub.AdvertiseKeys(request, metadata=metadata, timeout=30))
        self.assertEqual((error.code(), ours.code), (grpc.StatusCode.NOT_FOUND, "unknown_round"))
        self.assertEqual(ours.remedy, messages.REMEDY_CHECK_IN)
        delay_ms = retry.retry_delay.seconds * 1000 + retry.retry_delay.nanos / 1e6
        self.assertEqual(delay_ms, ours.retry_after_ms)
        self.assertEqual(str(ours.retry_after_ms), dict(error.trailing_metadata())["retry-after-ms"])

    def test_a_refusal_that_an_enrollment_token_mends(self):
        stub, _ = self.rounds()
        request = messages.CheckInRequest(protocol=PROTOCOL)
        error, ours, retry = self.failure(lambda: stub.CheckIn(request, timeout=30))
        self.assertEqual((error.code(), ours.code), (grpc.StatusCode.UNAUTHENTICATED, "missing_token"))
        self.assertEqual((ours.remedy, ours.retry_after_ms, retry), (messages.REMEDY_ENROLL, 0, None))

    def test_refusals_of_the_grpc_library(self):
        stub, metadata = self.rounds()
        request = messages.UploadRequest(protocol=PROTOCOL, session_handle=bytes(16), total=8 << 20, digest=bytes(32),
                                         data=bytes(4 << 20))
        _, ours, _ = self.failure(lambda: stub.UploadMasked(request, metadata=metadata, timeout=30))
        self.assertEqual((ours.code, ours.remedy), ("message_too_large", messages.REMEDY_LEAVE))
        for path, code in [("/scale.fl.v1.Rounds/NoSuchCall", "unknown_method"), ("/no.Such/Service", "unknown_method")]:
            line = Line(self.coordinator.address)
            self.addCleanup(line.close)
            unknown = line.channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
            error, ours, _ = self.failure(lambda: unknown(b"", metadata=metadata, timeout=30))
            self.assertEqual((error.code(), ours.code), (grpc.StatusCode.UNIMPLEMENTED, code), path)
