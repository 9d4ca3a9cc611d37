// Refusals as a browser's library reads them: connect-web over fetch (gRPC-web), and connect-node over gRPC on HTTP/2.
//
// Nothing is generated: the messages come from the descriptor set that SCALE_INTEROP_DESCRIPTORS names.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";

const packages = createRequire(`${process.env.SCALE_INTEROP_PACKAGES}/package.json`);
const { createFileRegistry, create, fromBinary } = packages("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = packages("@bufbuild/protobuf/wkt");
const { Code, ConnectError, createClient } = packages("@connectrpc/connect");
const { createGrpcWebTransport } = packages("@connectrpc/connect-web");
const { createGrpcTransport } = packages("@connectrpc/connect-node");

const set = fromBinary(FileDescriptorSetSchema, readFileSync(process.env.SCALE_INTEROP_DESCRIPTORS));
const registry = createFileRegistry(set);
const message = (name) => registry.getMessage(`scale.fl.v1.${name}`);
const Remedy = registry.getEnum("scale.fl.v1.Remedy");
const remedy = (name) => Remedy.values.find((value) => value.name === name).number;

const baseUrl = process.env.SCALE_INTEROP_URL;
const transports = {
  "connect-web, gRPC-web over fetch": createGrpcWebTransport({ baseUrl }),
  "connect-node, gRPC over HTTP/2": createGrpcTransport({ baseUrl }),
};

for (const [name, transport] of Object.entries(transports)) {
  test(`${name}: code, sentence, details and metadata arrive`, async () => {
    const rounds = createClient(registry.getService("scale.fl.v1.Rounds"), transport);
    const call = rounds.checkIn(create(message("CheckInRequest"), { protocol: 1 }));
    const error = await call.then(assert.fail, (error) => ConnectError.from(error));
    assert.equal(error.code, Code.Unauthenticated);
    assert.equal(error.metadata.get("scale-error-code"), "missing_token");
    const [detail, ...more] = error.findDetails(message("ErrorDetail"));
    assert.deepEqual([detail.code, detail.sentence, more.length], ["missing_token", error.rawMessage, 0]);
    assert.equal(detail.remedy, remedy("REMEDY_ENROLL"));
  });

  test(`${name}: a retry says when`, async () => {
    const rounds = createClient(registry.getService("scale.fl.v1.Rounds"), transport);
    const headers = { authorization: `Bearer ${process.env.SCALE_INTEROP_TOKEN}` };
    const call = rounds.advertiseKeys({ protocol: 1, handle: new Uint8Array(16) }, { headers });
    const error = await call.then(assert.fail, (error) => ConnectError.from(error));
    assert.equal(error.code, Code.NotFound);
    const [detail] = error.findDetails(message("ErrorDetail"));
    assert.deepEqual([detail.code, detail.remedy], ["unknown_round", remedy("REMEDY_CHECK_IN")]);
    assert.equal(error.metadata.get("retry-after-ms"), String(detail.retryAfterMs));
  });
}
