"use strict";

// Reads the schemas of an OpenAPI document for the page. Nothing here touches the page, so that Node.js can test it.
//
// A schema may refer to itself: a JSON value holds JSON values. So every walk keeps the references that it came through
// and does not enter one of them again.

// What a JSON pointer of this document leads to: `#/components/schemas/Transaction`. `{}` if it leads nowhere.
function target(whole, reference) {
  const keys = reference.replace(/^#\/?/, "").split("/").filter((key) => key !== "");
  const plain = (key) => decodeURIComponent(key).replaceAll("~1", "/").replaceAll("~0", "~");
  return keys.reduce((at, key) => (at === null || typeof at !== "object" ? undefined : at[plain(key)]), whole) ?? {};
}

// Follows references to what they mean, and adds them to `seen`. `undefined` if that was entered before: a walk that goes
// on there would not end, and neither would references that only lead to each other.
function enter(whole, value, seen) {
  while (value && value.$ref !== undefined) {
    if (seen.has(value.$ref)) return undefined;
    seen.add(value.$ref);
    value = target(whole, value.$ref);
  }
  return value || {};
}

// What a value means, by itself. `{}` (anything) if its references only lead to each other.
function resolve(whole, value) {
  return enter(whole, value, new Set()) ?? {};
}

// One line about a schema: its name, or its type and rules.
function kind(whole, schema) {
  if (schema.$ref !== undefined) return schema.$ref.split("/").pop();
  if (schema.oneOf) return schema.oneOf.map((one) => kind(whole, one)).join(" or ");
  const types = [].concat(schema.type || []);
  const rules = [];
  if (schema.format) rules.push(schema.format);
  const choices = (schema.enum || []).filter((choice) => choice !== null);
  if (choices.length) rules.push(choices.slice(0, 12).join(", ") + (choices.length > 12 ? ", …" : ""));
  if (schema.minimum !== undefined || schema.maximum !== undefined) {
    rules.push(`${schema.minimum ?? ""}…${schema.maximum ?? ""}`);
  }
  if (schema.minLength !== undefined || schema.maxLength !== undefined) {
    rules.push(`${schema.minLength ?? 0}…${schema.maxLength ?? ""} characters`);
  }
  if (schema.pattern && schema.pattern.length < 60) rules.push(schema.pattern);
  const items = types.includes("array") && schema.items ? ` of ${kind(whole, schema.items)}` : "";
  return (types.join(" or ") || "anything") + items + (rules.length ? ` (${rules.join("; ")})` : "");
}

// The fields of an object, or of an array's objects: `{ name, required, text, kind, fields }` each. `undefined` if there
// are none. `asked`: of a request, where it matters what may be left out; what must be there comes first.
function fields(whole, schema, asked, depth = 0, through = []) {
  const seen = new Set(through);
  let inside = enter(whole, schema, seen);
  while (inside && inside.items && !inside.properties) inside = enter(whole, inside.items, seen);
  if (!inside || !inside.properties) return undefined;
  const required = asked ? inside.required || [] : [];
  const late = ([name]) => (required.includes(name) ? 0 : 1);
  return Object.entries(inside.properties).sort((a, b) => late(a) - late(b)).map(([name, property]) => {
    const meant = resolve(whole, property);
    const inner = meant.items || property;
    return {
      name,
      required: required.includes(name),
      text: property.description || meant.description || "",
      kind: kind(whole, property),
      fields: depth < 2 && inner.$ref !== undefined ? fields(whole, inner, asked, depth + 1, seen) : undefined,
    };
  });
}

// A value made of the examples in a schema. `undefined` where there is none.
function example(whole, schema, through = []) {
  const seen = new Set(through);
  const inside = enter(whole, schema, seen);
  if (!inside) return undefined;
  if (inside.example !== undefined) return inside.example;
  if (inside.properties) {
    const entries = Object.entries(inside.properties).map(([name, property]) => [name, example(whole, property, seen)]);
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
  }
  if ([].concat(inside.type || []).includes("array") && inside.items) {
    const item = example(whole, inside.items, seen);
    return item === undefined ? undefined : [item];
  }
  return undefined;
}
