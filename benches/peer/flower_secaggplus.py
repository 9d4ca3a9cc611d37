"""One round of Flower's SecAgg+ in one process, with its CPU times: the figures that `secagg_round` is put beside.

    python3 -m venv peer && peer/bin/pip install "flwr==1.41.0" numpy
    peer/bin/python benches/peer/flower_secaggplus.py --clients 100 --len 1000000 --drop 10 --shares 15 --threshold 9

Flower's own code runs: the four client steps of its SecAgg+ mod, and the stages of its server workflow. Only the network
between them is a function call, and training is replaced by a fixed vector. Clients that are dropped have shared their
keys and send no masked vector. Prints one line of JSON; times are CPU milliseconds, `client_cpu_ms` is the median over
the clients that stay. `--shares` counts the client itself, as Flower does: 15 shares are 14 neighbours.
"""

import argparse
import importlib
import json
import logging
import random
import statistics
import time
from types import SimpleNamespace

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message_type import MessageType
from flwr.common import Code, FitIns, FitRes, Status, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common import recorddict_compat as compat
from flwr.supercore.task_identity import TaskIdentity
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import SecAggPlusWorkflow, WorkflowState

# The package exports a function of the module's name.
mod = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--len", type=int, default=1_000_000)
    parser.add_argument("--drop", type=int, default=0)
    parser.add_argument("--shares", type=int, default=15)
    parser.add_argument("--threshold", type=int, default=9)
    return parser.parse_args()


class Clients:
    """Stands in for the network: every message goes straight to the client's step, whose CPU time is counted."""

    def __init__(self, ids, dropped, vector):
        self.states = {i: mod.SecAggPlusState() for i in ids}
        self.dropped, self.parameters = dropped, ndarrays_to_parameters([vector])
        self.cpu = {i: 0.0 for i in ids}
        self.bytes_up = {i: 0 for i in ids}

    def send_and_receive(self, messages, timeout=None):
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            configs = message.content.config_records[RECORD_KEY_CONFIGS]
            stage = configs[Key.STAGE]
            if node in self.dropped and stage not in (Stage.SETUP, Stage.SHARE_KEYS):
                continue
            start = time.process_time()
            answer = self.step(node, stage, ConfigRecord({k: v for k, v in configs.items() if k != Key.STAGE}))
            self.cpu[node] += time.process_time() - start
            self.bytes_up[node] += size(answer)
            content = RecordDict({RECORD_KEY_CONFIGS: ConfigRecord(answer, False)})
            if stage == Stage.COLLECT_MASKED_VECTORS:
                result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([]), 1, {})
                fitres = compat.fitres_to_recorddict(result, False)
                fitres.config_records[RECORD_KEY_CONFIGS] = content.config_records[RECORD_KEY_CONFIGS]
                content = fitres
            replies.append(Message(content, reply_to=message))
        return replies

    def step(self, node, stage, configs):
        state = self.states[node]
        if stage == Stage.SETUP:
            state.nid = node
            return mod._setup(state, configs)
        if stage == Stage.SHARE_KEYS:
            return mod._share_keys(state, configs)
        if stage == Stage.COLLECT_MASKED_VECTORS:
            return mod._collect_masked_vectors(state, configs, 1, self.parameters)
        return mod._unmask(state, configs)


def size(answer):
    """Bytes of the payload, without any framing."""
    items = [item for value in answer.values() for item in (value if isinstance(value, list) else [value])]
    return sum(len(item) if isinstance(item, bytes) else 8 for item in items)


def main():
    args = arguments()
    logging.disable(logging.CRITICAL)
    # Messages carry the identity of a task that a running server would give.
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
    ids = list(range(1, args.clients + 1))
    # Flower stops when a dropped client was not asked to share, so all of them share first.
    dropped = set(random.Random(1).sample(ids, args.drop))
    vector = np.random.default_rng(1).uniform(-1, 1, args.len).astype(np.float32)
    clients = Clients(ids, dropped, vector)
    flow = SecAggPlusWorkflow(num_shares=args.shares, reconstruction_threshold=args.threshold)
    state = WorkflowState()
    state.num_shares, state.threshold = args.shares, args.threshold
    state.clipping_range, state.quantization_range = flow.clipping_range, flow.quantization_range
    state.mod_range, state.max_weight = flow.modulus_range, flow.max_weight
    state.sampled_node_ids = state.active_node_ids = set(ids)
    half = args.shares >> 1
    order = ids[:]
    random.Random(2).shuffle(order)
    state.nid_to_neighbours = {
        nid: {order[(at + offset) % len(order)] for offset in range(-half, half + 1)} for at, nid in enumerate(order)
    }
    state.nid_to_fitins = {
        nid: compat.fitins_to_recorddict(FitIns(ndarrays_to_parameters([]), {}), True) for nid in ids
    }
    state.nid_to_proxies = {nid: SimpleNamespace() for nid in ids}
    context = SimpleNamespace(
        state=RecordDict({MAIN_CONFIGS_RECORD: ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})}),
        strategy=SimpleNamespace(aggregate_fit=lambda *_: (None, {})),
        history=None,
    )

    start = time.process_time()
    setup = ConfigRecord({
        Key.STAGE: Stage.SETUP, Key.SAMPLE_NUMBER: len(ids), Key.SHARE_NUMBER: state.num_shares,
        Key.THRESHOLD: state.threshold, Key.CLIPPING_RANGE: state.clipping_range,
        Key.TARGET_RANGE: state.quantization_range, Key.MOD_RANGE: state.mod_range, Key.MAX_WEIGHT: state.max_weight,
    })
    messages = [
        Message(content=RecordDict({RECORD_KEY_CONFIGS: setup}), dst_node_id=nid, message_type=MessageType.TRAIN, group_id="1")
        for nid in ids
    ]
    for reply in clients.send_and_receive(messages):
        keys = reply.content.config_records[RECORD_KEY_CONFIGS]
        state.nid_to_publickeys[reply.metadata.src_node_id] = [keys[Key.PUBLIC_KEY_1], keys[Key.PUBLIC_KEY_2]]
    ended = [stage(clients, context, state) for stage in
             (flow.share_keys_stage, flow.collect_masked_vectors_stage, flow.unmask_stage)]
    server = time.process_time() - start - sum(clients.cpu.values())
    assert all(ended), "the peer's round did not end"
    staying = [nid for nid in ids if nid not in dropped]
    print(json.dumps({
        "clients": args.clients, "len": args.len, "dropped": args.drop, "shares": args.shares,
        "threshold": args.threshold,
        "client_cpu_ms": round(1000 * statistics.median(clients.cpu[nid] for nid in staying), 2),
        "server_cpu_ms": round(1000 * server, 2),
        "bytes_up": int(statistics.median(clients.bytes_up[nid] for nid in staying)),
    }))


if __name__ == "__main__":
    main()
