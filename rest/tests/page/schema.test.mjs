// The page's reading of schemas, above all of those that refer to themselves.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import vm from "node:vm";

const source = readFileSync(new URL("../../src/http/docs/schema.js", import.meta.url), "utf8");
const { resolve, kind, fields, example } = vm.runInThisContext(`(() => {${source}; return { resolve, kind, fields, example };})()`);

const to = (name) => ({ $ref: `#/components/schemas/${name}` });
const whole = {
  components: {
    schemas: {
      // Any JSON: neither an object with named fields nor an array of something else than itself.
      Json: { type: ["object", "array", "string", "null"], additionalProperties: to("Json"), items: to("Json") },
      Tree: {
        type: "object",
        required: ["name"],
        properties: {
          children: { type: "array", items: to("Tree") },
          note: { ...to("Json"), description: "Whatever you like" },
          name: { type: "string", minLength: 1, maxLength: 9, example: "oak", description: "Its name" },
        },
      },
      // Each is an array of the other.
      Left: { type: "array", items: to("Right") },
      Right: { type: "array", items: to("Left") },
      // These say nothing at all.
      Itself: to("Itself"),
      There: to("Back"),
      Back: to("There"),
      "a/b~c": { type: "string", example: "found" },
    },
  },
};

test("references that only lead to each other are anything", () => {
  for (const name of ["Itself", "There", "Missing"]) assert.deepEqual(resolve(whole, to(name)), {}, name);
});

test("a schema that holds itself has an end", () => {
  for (const name of ["Json", "Left", "Itself", "There"]) {
    assert.equal(fields(whole, to(name), true), undefined, name);
    assert.equal(example(whole, to(name)), undefined, name);
    assert.equal(kind(whole, to(name)), name);
  }
});

test("a tree is shown once, with what must be there first", () => {
  const rows = fields(whole, to("Tree"), true);
  assert.deepEqual(rows.map((row) => [row.name, row.required, row.fields]), [
    ["name", true, undefined], ["children", false, undefined], ["note", false, undefined],
  ]);
  assert.deepEqual(rows.map((row) => row.kind), ["string (1…9 characters)", "array of Tree", "Json"]);
  assert.equal(rows[2].text, "Whatever you like");
  assert.deepEqual(example(whole, to("Tree")), { name: "oak" });
});

test("fields of other schemas are nested", () => {
  const forest = { type: "object", properties: { first: to("Tree"), all: { type: "array", items: to("Tree") } } };
  const rows = fields(whole, forest, false);
  for (const row of rows) assert.deepEqual(row.fields.map((inner) => inner.name), ["children", "note", "name"], row.name);
  assert.deepEqual(example(whole, forest), { first: { name: "oak" }, all: [{ name: "oak" }] });
});

test("pointers are unescaped", () => {
  assert.equal(resolve(whole, { $ref: "#/components/schemas/a~1b~0c" }).example, "found");
});
