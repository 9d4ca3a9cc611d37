"""The gRPC side: messages compiled from fl.proto when this module is loaded, one channel, and which failures to repeat."""
import importlib
import pathlib
import sys
import tempfile
import time

import grpc
from grpc_tools import protoc

PROTOCOL = 1
CALL_SECONDS = 60          # longer than any long poll
SEND_AGAIN_SECONDS = 0.2   # after a connection broke

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto" / "proto"


def _compiled():
    folder = tempfile.mkdtemp(prefix="interop-proto-")
    schema = "scale/fl/v1/fl.proto"
    arguments = ["protoc", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_python_out={folder}", schema]
    if protoc.main(arguments) != 0:
        raise RuntimeError(f"{PROTO / schema} does not compile")
    sys.path.insert(0, folder)
    return importlib.import_module("scale.fl.v1.fl_pb2"), importlib.import_module("scale.fl.v1.fl_pb2_grpc")


messages, services = _compiled()


class Refused(Exception):
    """A call that failed for good: its gRPC status, the coordinator's code for it, and its sentence."""

    def __init__(self, error):
        self.status = error.code()
        self.code = dict(error.trailing_metadata() or ()).get("scale-error-code", "")
        super().__init__(f"{self.status.name} {self.code}: {error.details()}")


class Line:
    """A connection that outlives restarts of the coordinator."""

    def __init__(self, address, token=None):
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500),
                   ("grpc.min_reconnect_backoff_ms", 100), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(address, options=options)
        self.metadata = [("authorization", f"Bearer {token}")] if token else []

    def call(self, service, method, request):
        """One call. Every call of a device may be sent again: a broken connection is no more than a pause."""
        stub = getattr(services, f"{service}Stub")(self.channel)
        give_up = time.monotonic() + CALL_SECONDS
        while True:
            try:
                return getattr(stub, method)(request, timeout=CALL_SECONDS, metadata=self.metadata)
            except grpc.RpcError as error:
                passing = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                if not passing or time.monotonic() > give_up:
                    raise Refused(error) from None
                time.sleep(SEND_AGAIN_SECONDS)

    def close(self):
        self.channel.close()
