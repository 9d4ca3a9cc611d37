// The demo in a real browser, on the server at SCALE_WEB_URL: a person imports the sample, corrects three rows, helps the
// model, sees what changed, and finds the receipt. With SCALE_PAGE_PICTURES it also leaves pictures in that folder.
// The test that deletes everything comes last: all of them share one profile, as the tabs of one browser do.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { FLAGS } from "../../../wasm/tests/support/chromium.mjs";
import { removeProfile } from "../../../wasm/tests/support/folders.mjs";

const url = needed("SCALE_WEB_URL").replace(/\/$/, "");
const executablePath = needed("SCALE_PAGE_CHROMIUM");
const { chromium } = createRequire(`${needed("SCALE_PAGE_PACKAGES")}/`)("playwright-core");
const pictures = process.env.SCALE_PAGE_PICTURES;
// Other devices take their time, and other programs the processor's.
const ROUND_MS = Number(process.env.SCALE_WEB_ROUND_MS || 240_000);

const WIDE = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

function needed(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set; \`cargo xtask web --test\` sets it`);
  return value;
}

let profile;
let browser;

before(async () => {
  if (pictures) mkdirSync(pictures, { recursive: true });
  profile = mkdtempSync(join(tmpdir(), "scale-web-"));
  browser = await chromium.launchPersistentContext(profile, { executablePath, args: FLAGS, viewport: WIDE });
});

after(async () => {
  await browser?.close();
  if (profile) await removeProfile(profile);
});

// A page with the model ready, and what went wrong on it so far.
async function open(path = "/", { viewport = WIDE, colorScheme = "light" } = {}) {
  const page = await browser.newPage();
  const wrong = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  const answer = await page.goto(`${url}${path}`);
  const status = page.getByRole("region", { name: "Status" });
  await status.getByText(/^Model version \d+$/).waitFor({ timeout: 60_000 }).catch(async () => {
    assert.fail(`no model came; the page says: ${await page.locator("body").innerText()} ${wrong.join("; ")}`);
  });
  return { page, wrong, answer, status };
}

const transactions = (page) => page.getByRole("list", { name: "Transactions" }).locator("> li");
const categoryOf = (row) => row.getByRole("combobox", { name: /^Category of / });
const importStatus = (page) => page.getByRole("status", { name: "Import" });

async function importSample(page) {
  await page.getByRole("button", { name: "Use the sample" }).click();
  await importStatus(page).getByText(/transactions imported from the sample/).waitFor({ timeout: 20_000 });
  await transactions(page).first().getByText(/^\d+%$/).first().waitFor({ timeout: 20_000 });
}

// Names another category than the one that is predicted.
async function correct(row) {
  const select = categoryOf(row);
  const predicted = await select.locator("option").first().innerText();
  const labels = await select.locator("optgroup option").evaluateAll((all) => all.map((option) => option.value));
  const other = labels.find((label) => !predicted.startsWith(label.replaceAll("_", " ")));
  await select.selectOption(other);
  await row.getByText("yours", { exact: true }).waitFor({ timeout: 10_000 });
}

async function picture(page, name) {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) });
}

async function assertFits(page, name) {
  const out = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(out <= 0, `${name}: ${out} pixels too wide`);
}

const csv = (text) => ({ name: "bank.csv", mimeType: "text/csv", buffer: Buffer.from(text) });

test("the policy lets nothing in but this server's own scripts and the coordinator", async () => {
  const { page, wrong, answer } = await open();
  const policyOf = (response) => response.headers()["content-security-policy"] ?? "";
  const policy = policyOf(answer);
  assert.match(policy, /default-src 'self'/);
  assert.match(policy, /script-src 'self' 'wasm-unsafe-eval' 'nonce-[^']+'(;|$)/);
  assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|blob:|\*/);
  const again = await page.request.get(`${url}/`);
  assert.notEqual(policyOf(again), policy, "a nonce is used once");
  // A worker obeys the policy of its own script.
  const worker = page.workers()[0];
  assert.ok(worker, "the SDK has a worker");
  assert.match(policyOf(await page.request.get(worker.url())), /connect-src 'self'/);
  // Text of a page cannot become a script, and no element has a style of its own.
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.injected = true";
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => window.injected), undefined);
  assert.doesNotMatch(await answer.text(), /<[^>]* style=/);
  assert.equal(wrong.length, 1, wrong.join("; "));
  assert.match(wrong[0], /Content Security Policy/);
  await page.close();
});

test("a bank's file is read by the rules of the REST import", async () => {
  const { page, wrong } = await open();
  const file = page.getByLabel("CSV file");
  const said = importStatus(page);
  const take = async (content, expected) => {
    await file.setInputFiles(csv(content));
    await said.getByText(expected).waitFor({ timeout: 10_000 }).catch(async () => {
      assert.fail(`expected ${expected} of ${JSON.stringify(content)}; the page says: ${await said.innerText()}`);
    });
  };
  const head = "date,description,amount,currency\n";
  await take("\ufeffBuchungstag;Verwendungszweck;Betrag (EUR)\r\n13.11.2026;\"LIDL; \"\"SAGT\"\" DANKE\";-1.234,56\r\n", /1 transaction imported/);
  const first = transactions(page).filter({ hasText: 'LIDL; "SAGT" DANKE' });
  await first.getByText("2026-11-13").waitFor();
  await first.getByText("\u22121234.56 EUR").waitFor();
  // The same transaction of another file of the same bank.
  await take("Buchungstag;Verwendungszweck;Betrag (EUR)\n13.11.2026;\"LIDL; \"\"SAGT\"\" DANKE\";-1.234,56\n", /1 were here already/);
  // Rows with a category become examples, those of a category that the model does not have do not.
  await take("date,description,amount,currency,category\n2026-11-14,SHELL 12,-40.00,EUR,Fuel\n2026-11-14,BARBER,-20.00,EUR,Hair\n", /1 row with a category became an example/);
  await said.getByText(/line 3: category: not one of the model's categories/).waitFor();
  // Good rows are taken, others are named by their line; a quoted cell may have lines of its own.
  await take(`${head}2026-11-15,"TWO\nLINES",-1.00,EUR\n2026-02-30,A,-1.00,EUR\n\n2026-11-16,B,1.0x,EUR\n2026-11-16,,-1.00,EUR\n2026-11-16,C,-1,50,EUR\n`, /1 transaction imported/);
  for (const problem of [/line 4: date: not a date of the calendar/, /line 6: amount: not an amount/, /line 7: description: empty/, /line 8: 5 cells under 4 column names/]) {
    await said.getByText(problem).waitFor({ timeout: 5_000 });
  }
  for (const [content, problem] of [
    ["", /the file has no rows/],
    ["day,what\n1,2\n", /no column for the date; name one of: .* \(the columns are: day, what\)/],
    ["date,description,amount\n2026-11-16,A,-1.00\n", /no currency: add a column named currency/],
    [`${head}01/02/2026,A,-1.00,EUR\n`, /line 2: the date may have the day or the month first/],
    [`${head}2026-11-16,A,"-1,50",EUR\n2026-11-16,B,-1.50,EUR\n`, /a decimal point in line 3 and a decimal comma in line 2/],
    [`${head}2026-11-16,"A,${"x".repeat(9_000)}`, /line 2: a cell of more than 8192 characters. Is a quote missing/],
    [Buffer.from([0xff, 0xfe, 0x41]), /not UTF-8 text/],
  ]) {
    await take(content, problem);
  }
  assert.deepEqual(wrong, []);
  await page.close();
});

test("a person imports, corrects, helps, and sees what came of it", async () => {
  const { page, wrong, status } = await open();
  await importSample(page);
  assert.equal(await transactions(page).count(), 50, "the first page of them");
  await page.getByRole("button", { name: /^Show \d+ more/ }).click();
  const total = readFileSync(new URL("../public/sample.csv", import.meta.url), "utf8").trim().split("\n").length - 1;
  assert.equal(await transactions(page).count(), total);
  await picture(page, "wide-light-imported");

  // The three best guesses, on demand.
  const first = transactions(page).first();
  await first.locator("summary").click();
  assert.equal(await first.getByRole("list").getByRole("listitem").count(), 3);
  await first.locator("summary").click();

  const kept = async () => Number(/(\d+) examples? kept/.exec(await status.innerText())?.[1]);
  const keptBefore = await kept();
  const taught = await transactions(page).evaluateAll((rows) => rows.map((row) => row.classList.contains("taught")));
  const untaught = taught.flatMap((isTaught, at) => (isTaught ? [] : [at])).slice(0, 3);
  for (const at of untaught) await correct(transactions(page).nth(at));
  await status.getByText(`${keptBefore + 3} examples kept here`).waitFor({ timeout: 10_000 });

  const version = async () => Number(/Model version (\d+)/.exec(await status.innerText())?.[1]);
  const versionBefore = await version();
  await page.getByRole("button", { name: "Help the model" }).click();
  const panel = page.getByRole("region", { name: "Help the model" });
  await panel.getByRole("button", { name: "Stop" }).waitFor();
  await panel.getByRole("progressbar", { name: "Progress of the round" }).waitFor();
  await panel.locator('[aria-current="step"]').waitFor();
  const trained = panel.getByRole("img", { name: /^Loss by step/ }).or(panel.getByText("The loss stays on this device", { exact: false }));
  await trained.waitFor({ timeout: ROUND_MS });
  await picture(page, "wide-light-round");
  await panel.getByText(/Thank you: your update is in the sum/).waitFor({ timeout: ROUND_MS }).catch(async () => {
    assert.fail(`no round was finished; the panel says: ${await panel.innerText()} ${wrong.join("; ")}`);
  });
  await panel.getByText("Epsilon of this round").waitFor();

  assert.ok((await version()) > versionBefore, "another model is here");
  const changes = page.getByRole("region", { name: /^Model version \d+/ });
  await changes.getByText(/Of the \d+ that you sorted yourself, it now agrees with \d+/).waitFor({ timeout: 20_000 });
  const words = await changes.innerText();
  const changed = Number(/It sorts (\d+) of \d+ transactions otherwise/.exec(words)?.[1] ?? 0);
  assert.ok(changed > 0 || /sorts all of your transactions as the one before it did/.test(words), words);
  assert.equal(await changes.getByRole("listitem").count(), Math.min(changed, 8), words);
  await picture(page, "wide-light-done");

  await page.getByRole("link", { name: "See the receipt" }).click();
  await page.getByRole("heading", { name: "Privacy", level: 1 }).waitFor();
  const receipts = page.getByRole("list", { name: "Receipts" }).locator("> li");
  await receipts.first().waitFor({ timeout: 10_000 });
  assert.equal(await receipts.count(), 1);
  assert.match(await receipts.innerText(), /[0-9a-f]{64}/);
  // Spent beside its limit; without a bound there is no bar, and the words say so.
  const totals = page.getByRole("region", { name: "Spent, and the most that may be spent" });
  const meters = await totals.getByRole("meter").count();
  assert.ok(meters > 0 || /no bound; limit \d/.test(await totals.innerText()), await totals.innerText());
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export the record" }).click();
  const exported = JSON.parse(readFileSync(await (await download).path(), "utf8"));
  assert.equal(exported.receipts.length, 1);
  await picture(page, "wide-light-privacy");

  // The list of this tab is still there.
  await page.getByRole("link", { name: "Transactions" }).click();
  await transactions(page).first().waitFor({ timeout: 10_000 });
  assert.equal(await transactions(page).count(), 50);
  assert.deepEqual(wrong, []);
  await page.close();
});

test("a round is stopped", async () => {
  const { page, wrong } = await open();
  await importSample(page);
  const panel = page.getByRole("region", { name: "Help the model" });
  await panel.getByRole("button", { name: /^Help/ }).click();
  await panel.getByRole("button", { name: "Stop" }).click();
  await panel.getByText("Stopped.", { exact: true }).waitFor({ timeout: 15_000 });
  await panel.getByRole("button", { name: /^Help/ }).waitFor();
  assert.deepEqual(wrong, []);
  await page.close();
});

test("everything is within reach of the keyboard", async () => {
  const { page, wrong } = await open();
  const focused = () =>
    page.evaluate(() => {
      const { activeElement: at } = document;
      return at?.getAttribute("aria-label") ?? at?.labels?.[0]?.innerText.trim() ?? at?.innerText?.trim() ?? "";
    });
  // Presses a key until the focus is on something of this name, which must be seen to have it.
  const reach = async (name, key = "Tab") => {
    const seen = [];
    for (let presses = 0; presses < 30; presses++) {
      await page.keyboard.press(key);
      const at = await focused();
      seen.push(at);
      if (!name.test(at)) continue;
      const visible = await page.evaluate(() => {
        const at = document.activeElement;
        return [at, at.nextElementSibling].some((part) => part && getComputedStyle(part).outlineStyle === "solid");
      });
      assert.ok(visible, `the focus on ${at} is seen`);
      return;
    }
    assert.fail(`${name} is not reached: ${seen.join(" | ")}`);
  };
  await reach(/^Skip to the content$/);
  await reach(/^Transactions$/);
  await reach(/^Privacy$/);
  await reach(/^Choose a file/);
  await reach(/^Use the sample$/);
  await page.keyboard.press("Enter");
  await importStatus(page).getByText(/imported from the sample/).waitFor({ timeout: 20_000 });
  await transactions(page).first().getByText(/^\d+%$/).first().waitFor({ timeout: 20_000 });
  await reach(/^Help the model$/);
  await reach(/^All/);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowLeft");
  await reach(/^Category of /);
  const row = page.locator(".row:focus-within");
  const name = await focused();
  // Letters choose in a list.
  await page.keyboard.type("trav");
  await row.getByText("yours", { exact: true }).waitFor({ timeout: 10_000 });
  assert.equal(await page.getByRole("combobox", { name, exact: true }).first().inputValue(), "travel");
  await reach(/guesses$/);
  await page.keyboard.press("Enter");
  assert.equal(await row.getByRole("list").getByRole("listitem").count(), 3);
  // The button that starts a round gives the focus to the one that stops it.
  await reach(/^Help the model$/, "Shift+Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await page.waitForFunction(() => document.activeElement?.textContent === "Stop", null, { timeout: 5_000 });
  await page.keyboard.press("Enter");
  await page.getByText("Stopped.", { exact: true }).waitFor({ timeout: 15_000 });
  assert.match(await focused(), /^Help the model$/);
  assert.deepEqual(wrong, []);
  await page.close();
});

test("nothing sticks out, on a wide screen and on a phone, in light and in dark", async () => {
  for (const [size, viewport] of Object.entries({ wide: WIDE, phone: PHONE })) {
    for (const colorScheme of ["light", "dark"]) {
      const name = `${size}-${colorScheme}`;
      const { page, wrong } = await open("/", { viewport, colorScheme });
      await importSample(page);
      await transactions(page).first().locator("summary").click();
      await correct(transactions(page).nth(1));
      await assertFits(page, name);
      await picture(page, `${name}-list`);
      await page.getByRole("link", { name: "Privacy" }).click();
      await page.getByRole("heading", { name: "What these numbers assume" }).waitFor({ timeout: 10_000 });
      await assertFits(page, `${name} privacy`);
      await picture(page, `${name}-privacy`);
      await page.getByRole("button", { name: /^Delete everything/ }).click();
      await page.getByRole("dialog", { name: "Delete everything?" }).waitFor();
      if (pictures) await page.screenshot({ path: join(pictures, `${name}-dialog.png`) });
      await page.keyboard.press("Escape");
      assert.deepEqual(wrong, [], name);
      await page.close();
    }
  }
});

test("a person deletes their examples, then everything", async () => {
  const { page, wrong, status } = await open();
  await importSample(page);
  await page.getByRole("link", { name: "Privacy" }).click();
  await page.getByRole("button", { name: /^Delete my examples/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Keep" }).click();
  assert.doesNotMatch(await status.innerText(), /\b0 examples kept/, "nothing is deleted without a yes");
  await page.getByRole("button", { name: /^Delete my examples/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete the examples" }).click();
  await page.getByText("Your examples are deleted.").waitFor({ timeout: 10_000 });
  await status.getByText("0 examples kept here").waitFor({ timeout: 10_000 });
  await page.getByRole("button", { name: /^Delete everything/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete everything" }).click();
  await status.getByText("Everything is deleted", { exact: false }).waitFor({ timeout: 10_000 });
  await status.getByText("Not enrolled").waitFor();
  await page.getByRole("button", { name: "Start again" }).click();
  await status.getByText(/^Model version \d+$/).waitFor({ timeout: 60_000 });
  assert.deepEqual(wrong, []);
  await page.close();
});
