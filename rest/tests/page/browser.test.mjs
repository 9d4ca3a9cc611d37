// The page in a real browser, on the server at SCALE_PAGE_URL, as somebody with the token SCALE_PAGE_TOKEN.
// With SCALE_PAGE_PICTURES it also leaves pictures in that folder.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const url = needed("SCALE_PAGE_URL");
const token = needed("SCALE_PAGE_TOKEN");
const executablePath = needed("SCALE_PAGE_CHROMIUM");
const { chromium } = createRequire(`${needed("SCALE_PAGE_PACKAGES")}/`)("playwright-core");
const pictures = process.env.SCALE_PAGE_PICTURES;

const WIDE = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

function needed(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set; \`cargo xtask page\` sets it`);
  return value;
}

let profile;
let browser;
let description;

before(async () => {
  profile = mkdtempSync(join(tmpdir(), "scale-page-"));
  browser = await chromium.launchPersistentContext(profile, { executablePath, args: FLAGS, viewport: WIDE });
  description = await (await fetch(`${url}/api/v1/openapi.json`)).json();
});

after(async () => {
  await browser?.close();
  if (profile) rmSync(profile, { recursive: true, force: true });
});

// The page as it stands when it has read the description, and what went wrong on it so far.
async function open(viewport = WIDE, colorScheme = "light", hash = "") {
  const page = await browser.newPage();
  const wrong = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("requestfailed", (request) => wrong.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("request", (request) => {
    const elsewhere = !request.url().startsWith(`${url}/`) && !request.url().startsWith("data:");
    if (elsewhere) wrong.push(`it asks ${request.url()}`);
  });
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme });
  const answer = await page.goto(`${url}/docs${hash}`);
  const policy = answer.headers()["content-security-policy"] ?? "";
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*|https?:/);
  await page.locator(".op").first().waitFor({ timeout: 10_000 }).catch(async () => {
    assert.fail(`no operation is shown; the page says: ${await page.locator("main").innerText()} ${wrong.join("; ")}`);
  });
  return { page, wrong };
}

// Every operation of the document, as the page should name it.
function operations() {
  return Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, id: operation.operationId })));
}

test("every operation is visible by its method and path, and opens", async () => {
  const { page, wrong } = await open();
  const wanted = operations();
  assert.ok(wanted.length >= 19, `the document has ${wanted.length} operations`);
  const heads = page.locator(".op > summary");
  assert.equal(await heads.count(), wanted.length);
  for (const { method, path, id } of wanted) {
    const operation = page.locator(`details.op[id="${id}"]`);
    const head = operation.locator("> summary");
    assert.ok(await head.isVisible(), id);
    assert.equal((await head.locator(".verb").innerText()).toUpperCase(), method, id);
    assert.equal(await head.locator("code").innerText(), path, id);
    assert.equal(await page.locator(`nav a[href="#${id}"]`).count(), 1, `${id} in the menu`);
    await head.click();
    assert.match(await operation.locator(".inside").innerText(), /Answers/, id);
  }
  assert.deepEqual(wrong, []);
});

test("an operation is tried with a token", async () => {
  const { page, wrong } = await open();
  await page.getByLabel("Access token").fill(token);

  const list = page.locator('details.op[id="list_transactions"]');
  await list.locator("> summary").click();
  await list.getByText("Try it").click();
  await list.getByLabel("limit").fill("5");
  await list.getByRole("button", { name: "Send" }).click();
  const answer = list.locator("[aria-live]");
  await answer.getByText(/^200 /).waitFor({ timeout: 10_000 });
  assert.match(await answer.locator("pre").last().innerText(), /^\{/);

  // The example that the page offers is a good body.
  const create = page.locator('details.op[id="create_category"]');
  await create.locator("> summary").click();
  await create.getByText("Try it").click();
  await create.getByRole("button", { name: "Send" }).click();
  await create.locator("[aria-live]").getByText(/^201 /).waitFor({ timeout: 10_000 });
  assert.deepEqual(wrong, []);
});

test("a link to an operation opens it", async () => {
  const { page, wrong } = await open(WIDE, "light", "#create_transaction");
  assert.ok(await page.locator('details.op[id="create_transaction"] .inside').isVisible());
  // It has a field of any JSON, whose schema refers to itself.
  assert.match(await page.locator('details.op[id="create_transaction"] .inside').innerText(), /raw_data/);
  assert.deepEqual(wrong, []);
});

test("nothing sticks out, on a wide screen and on a phone, in light and in dark", async () => {
  for (const [size, viewport] of Object.entries({ wide: WIDE, phone: PHONE })) {
    for (const colorScheme of ["light", "dark"]) {
      const { page, wrong } = await open(viewport, colorScheme);
      const name = `${size}-${colorScheme}`;
      if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) });
      for (const id of ["create_transaction", "list_transactions"]) {
        await page.locator(`details.op[id="${id}"] > summary`).click();
        await page.locator(`details.op[id="${id}"]`).getByText("Try it").click();
      }
      if (pictures) {
        await page.locator('details.op[id="create_transaction"]').scrollIntoViewIfNeeded();
        await page.screenshot({ path: join(pictures, `${name}-open.png`) });
        await page.screenshot({ path: join(pictures, `${name}-whole.png`), fullPage: true });
      }
      const out = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(out <= 0, `${name}: ${out} pixels too wide`);
      const field = await page.getByLabel("Access token").boundingBox();
      assert.ok(field.width >= 150 && field.x + field.width <= viewport.width, `${name}: ${JSON.stringify(field)}`);
      assert.deepEqual(wrong, [], name);
      await page.close();
    }
  }
});
