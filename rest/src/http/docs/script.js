// Shows /api/v1/openapi.json; `schema.js`, in front of this, reads its schemas. Text goes into the page as text only, never as markup.

const byId = (id) => document.getElementById(id);

function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false && child !== ""));
  return node;
}

let whole;

// `code` in descriptions, and nothing else of Markdown.
function prose(text) {
  return String(text || "").split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
}

function table(rows) {
  return make("table", {}, make("tbody", {}, rows));
}

function row(name, note, required, text, ...more) {
  return make("tr", {},
    make("td", {}, make("code", {}, name), note && make("span", { class: "kind" }, ` ${note}`),
      required && make("span", { class: "need" }, " required")),
    make("td", {}, text, ...more));
}

// What `fields` says of a schema. `undefined` if it has none.
function fieldTable(found) {
  return found && table(found.map((field) => row(field.name, "", field.required, prose(field.text),
    make("div", { class: "kind" }, field.kind), unfold(fieldTable(field.fields)))));
}

function unfold(inside) {
  return inside && make("details", {}, make("summary", { class: "kind" }, "its fields"), inside);
}

function parameters(list) {
  return table(list.map((parameter) => row(parameter.name, parameter.in, parameter.required, prose(parameter.description),
    make("div", { class: "kind" }, kind(whole, parameter.schema || {})))));
}

// What goes wrong answers with the same problem details everywhere, so it is folded away.
function answers(responses) {
  const all = Object.entries(responses).map(([status, response]) => [status, resolve(whole, response)]);
  const rows = (some) => some.map(([status, response]) => {
    const [media, content] = Object.entries(response.content || {})[0] || [];
    const nested = content && !isProblem(response) ? fields(whole, content.schema || {}, false) : undefined;
    return row(status, "", false, prose(response.description),
      media && make("div", { class: "kind" }, `${media}: ${kind(whole, content.schema || {})}`), unfold(fieldTable(nested)));
  });
  const problems = all.filter(([, response]) => isProblem(response));
  return [table(rows(all.filter(([, response]) => !isProblem(response)))),
    problems.length > 0 && make("details", { class: "problems" },
      make("summary", { class: "kind" }, `Problems: ${problems.map(([status]) => status).join(", ")}`), table(rows(problems)))];
}

function isProblem(response) {
  return Object.keys(response.content || {}).some((media) => media.includes("problem"));
}

function trial(method, path, operation) {
  const inputs = (operation.parameters || []).map((parameter) => {
    const input = make("input", { "aria-label": parameter.name, placeholder: resolve(whole, parameter.schema).example ?? parameter.example ?? "" });
    return { parameter, input };
  });
  const content = operation.requestBody && operation.requestBody.content;
  let media, body, file;
  if (content) {
    const kinds = Object.keys(content);
    media = make("select", { "aria-label": "content-type" }, kinds.map((name) => make("option", {}, name)));
    body = make("textarea", { "aria-label": "body", spellcheck: "false" });
    file = make("input", { type: "file", "aria-label": "file" });
    const show = () => {
      const chosen = content[media.value];
      const shown = chosen.example ?? example(whole, chosen.schema || {});
      body.value = typeof shown === "string" ? shown : shown === undefined ? "" : JSON.stringify(shown, null, 2);
      file.hidden = media.value !== "multipart/form-data";
      body.hidden = !file.hidden;
    };
    media.addEventListener("change", show);
    show();
  }
  const output = make("div", { "aria-live": "polite" });
  const send = make("button", { type: "button" }, "Send");
  const stop = make("button", { type: "button", class: "quiet", disabled: true }, "Stop");
  let abort;
  stop.addEventListener("click", () => abort && abort.abort());
  send.addEventListener("click", async () => {
    let target = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const { parameter, input } of inputs) {
      if (input.value === "") continue;
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      if (parameter.in === "query") query.set(parameter.name, input.value);
      if (parameter.in === "header") headers[parameter.name] = input.value;
    }
    if (query.size) target += `?${query}`;
    const token = byId("token").value.trim();
    if (token) headers.authorization = `Bearer ${token}`;
    let payload;
    if (media) {
      if (media.value === "multipart/form-data") {
        payload = new FormData();
        if (file.files[0]) payload.append("file", file.files[0]);
      } else {
        headers["content-type"] = media.value;
        payload = body.value;
      }
    }
    abort = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    const shown = make("pre", {});
    const started = performance.now();
    try {
      const response = await fetch(target, { method: method.toUpperCase(), headers, body: payload, signal: abort.signal, cache: "no-store" });
      const names = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      const head = `${response.status} ${response.statusText}, ${Math.round(performance.now() - started)} ms`;
      output.replaceChildren(make("h3", {}, head), make("details", {}, make("summary", { class: "kind" }, "headers"), make("pre", {}, names)), shown);
      if ((response.headers.get("content-type") || "").startsWith("text/event-stream")) {
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let part = await reader.read(); !part.done; part = await reader.read()) shown.append(part.value);
      } else {
        const text = await response.text();
        try {
          shown.textContent = JSON.stringify(JSON.parse(text), null, 2);
        } catch {
          shown.textContent = text;
        }
      }
    } catch (error) {
      output.append(make("p", { class: "need" }, String(error)));
    } finally {
      send.disabled = false;
      stop.disabled = true;
    }
  });
  return make("details", { class: "trial" },
    make("summary", {}, "Try it"),
    inputs.map(({ parameter, input }) => make("div", { class: "field" }, make("code", {}, parameter.name), input)),
    content && make("div", { class: "field" }, make("code", {}, "content-type"), media), body, file,
    send, stop, output);
}

const METHODS = ["get", "post", "put", "patch", "delete"];

function byMethod([one], [other]) {
  return METHODS.indexOf(one) - METHODS.indexOf(other);
}

function show(description) {
  whole = description;
  byId("title").textContent = description.info.title;
  byId("version").textContent = description.info.version;
  document.title = `${description.info.title} API`;
  const menu = byId("menu");
  const content = byId("content");
  content.replaceChildren(...description.info.description.split("\n\n").map((text) => make("p", {}, prose(text))));
  for (const tag of description.tags) {
    menu.append(make("h2", {}, tag.name));
    content.append(make("h2", {}, tag.name), make("p", { class: "muted about" }, prose(tag.description)));
    for (const [path, methods] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(methods).sort(byMethod)) {
        if (!(operation.tags || []).includes(tag.name)) continue;
        const id = operation.operationId;
        menu.append(make("a", { href: `#${id}` }, operation.summary || id));
        const body = operation.requestBody && Object.values(operation.requestBody.content)[0];
        content.append(make("details", { class: "op", id },
          make("summary", {}, make("span", { class: `verb ${method}` }, method), make("code", {}, path), make("span", { class: "muted" }, operation.summary || ""),
            operation.security && operation.security.length === 0 && make("span", { class: "tag" }, "no token needed")),
          make("div", { class: "inside" },
            operation.description ? make("p", {}, prose(operation.description)) : "",
            operation.parameters && operation.parameters.length ? [make("h3", {}, "Parameters"), parameters(operation.parameters)] : "",
            body && body.schema ? [make("h3", {}, `Body: ${Object.keys(operation.requestBody.content).join(", ")}`), fieldTable(fields(whole, body.schema, true))] : "",
            make("h3", {}, "Answers"), answers(operation.responses),
            trial(method, path, operation))));
      }
    }
  }
  const open = () => {
    const node = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
    if (node && node.tagName === "DETAILS") {
      node.open = true;
      node.scrollIntoView();
    }
  };
  window.addEventListener("hashchange", open);
  open();
}

fetch("/api/v1/openapi.json")
  .then((response) => (response.ok ? response.json() : Promise.reject(new Error(`${response.status}`))))
  .then(show)
  .catch((error) => byId("content").replaceChildren(make("p", { class: "need" }, `The description cannot be read: ${error.message}`)));
