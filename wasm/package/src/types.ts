// Generated from bindings/src/types by `SCALE_WRITE_TYPES=1 cargo test -p scale-bindings typescript`. Do not edit.

/**
 * The configuration of an installation. What is left out has the core's default.
 */
export type Installation = {
/**
 * The task to take part in.
 */
task: string,
/**
 * Ed25519 public key that signs round configurations, as 64 hex digits. It is part of the app and never taken from the
 * coordinator.
 */
taskKey: string,
/**
 * Ed25519 public key of the authority that certifies devices, as 64 hex digits.
 */
identityRoot?: string,
/**
 * Conditions that must hold before the device joins a round.
 */
requirements?: Requirements,
/**
 * The app's own limits. A limit that is looser than the compiled one has no effect.
 */
guardrails?: Partial<Guardrails>,
/**
 * Limits on the stored examples.
 */
examples?: ExampleLimits, };

/**
 * Conditions that must hold before the device joins a round. It never joins while it is offline.
 */
export type Requirements = {
/**
 * An unmetered network; default true.
 */
unmetered?: boolean,
/**
 * Default `charging_or_battery_fine`.
 */
power?: Power,
/**
 * The device is not in use; default false.
 */
idle?: boolean,
/**
 * Whether a condition that the platform does not report counts as not met; default false. Firefox and Safari, for
 * example, report neither battery nor kind of network.
 */
strict?: boolean, };

/**
 * The power supply that a round requires.
 */
export type Power = "any" | "charging_or_battery_fine" | "charging";

/**
 * Limits on the stored examples.
 */
export type ExampleLimits = {
/**
 * Largest number; beyond it the oldest are deleted. Default 20,000.
 */
examples?: number,
/**
 * Largest text in bytes. Default 512.
 */
textBytes?: number,
/**
 * Largest age in days. Default 400.
 */
ageDays?: number, };

/**
 * The limits as they hold on this device.
 */
export type Guardrails = {
/**
 * Smallest number of participants of a session, and of survivors.
 */
cohortMin: number,
/**
 * Largest number of rounds within 24 hours.
 */
roundsPerDay: number,
/**
 * Longest training, in milliseconds.
 */
trainingMs: number,
/**
 * Largest model file in bytes.
 */
modelBytes: number,
/**
 * Largest upload in bytes.
 */
uploadBytes: number,
/**
 * Whether rounds in which devices add no noise are refused.
 */
refuseWithoutNoise: boolean,
/**
 * Budgets of the privacy ledger.
 */
privacy: PrivacyLimits, };

/**
 * Budgets of the privacy ledger.
 */
export type PrivacyLimits = {
/**
 * Of one round.
 */
round: PrivacyCaps,
/**
 * Of all rounds in one period.
 */
period: PrivacyCaps,
/**
 * Of all rounds ever.
 */
lifetime: PrivacyCaps,
/**
 * Length of a period in milliseconds.
 */
periodMs: number,
/**
 * The delta of every epsilon here.
 */
delta: number, };

/**
 * Largest epsilons.
 */
export type PrivacyCaps = {
/**
 * Of a person, against a party that sees only sums.
 */
aggregate: number,
/**
 * Of a person, against a party that sees this device's uploads.
 */
local: number,
/**
 * Of one training example.
 */
example: number, };

/**
 * A labeled line of text.
 */
export type Example = {
/**
 * The app's own id: a later example with the same id replaces this one. At most 128 bytes.
 */
id: string,
/**
 * The line, at most 512 bytes.
 */
text: string,
/**
 * Name of the class, at most 64 bytes.
 */
label: string,
/**
 * When the example became known; its age counts from here. Without it: the time of its last change in this store.
 */
time?: number, };

/**
 * What `put` did. Each example is counted once; of several with the same id only the last counts.
 */
export type PutSummary = {
/**
 * New ids.
 */
added: number,
/**
 * Ids whose text, label or time has changed.
 */
replaced: number,
/**
 * Examples that were already stored as given.
 */
unchanged: number,
/**
 * Examples beyond the limits, given now or earlier: too old, or the oldest of too many. They are deleted.
 */
dropped: number, };

/**
 * The prediction for one line.
 */
export type Prediction = {
/**
 * The most probable labels, in decreasing order of probability.
 */
top: Array<Scored>, };

/**
 * A label with its probability.
 */
export type Scored = {
/**
 * Name of the class.
 */
label: string,
/**
 * 0 to 1; those of all labels add up to 1.
 */
probability: number, };

/**
 * The model on this device.
 */
export type ModelInfo = {
/**
 * Version within its task.
 */
version: number,
/**
 * SHA-256 of the model file, as hex.
 */
digest: string,
/**
 * Names of its classes.
 */
labels: Array<string>, };

/**
 * How a participation ended.
 */
export type Outcome = { "kind": "contributed",
/**
 * Id of the round.
 */
round: string,
/**
 * Session number within the task.
 */
number: number,
/**
 * Version of the model that was trained.
 */
version: number,
/**
 * What the round has cost; null if the report cannot be read.
 */
receipt: Receipt | null, } | { "kind": "paused",
/**
 * When to call again, from now on.
 */
resumeAfterMs: number,
/**
 * After this time the device can no longer complete the round.
 */
resumeBeforeMs: number,
/**
 * Phase in which the round is paused.
 */
phase: Phase, } | { "kind": "waited",
/**
 * When to call again.
 */
until: number,
/**
 * Stable code.
 */
code: string,
/**
 * The reason, for the user.
 */
sentence: string, } | { "kind": "left",
/**
 * Id of the round; null if the coordinator had not offered one yet.
 */
round: string | null,
/**
 * Stable code.
 */
code: string,
/**
 * The reason, for the user.
 */
sentence: string,
/**
 * When to call again.
 */
until: number, } | { "kind": "enrollment_needed",
/**
 * Stable code.
 */
code: string,
/**
 * The reason, for the user.
 */
sentence: string, };

/**
 * The phase of a participation.
 */
export type Phase = "checking_in" | "downloading" | "training" | "keys" | "shares" | "uploading" | "agreeing" | "unmasking" | "over";

/**
 * The progress of a participation, and the event that changed it.
 */
export type Progress = {
/**
 * Current phase.
 */
phase: Phase,
/**
 * Overall progress in thousandths. Never decreases within one call.
 */
permille: number,
/**
 * The phase, for the user.
 */
sentence: string,
/**
 * What happened.
 */
event: ProgressEvent, };

/**
 * An event that an app may want to show.
 */
export type ProgressEvent = { "kind": "entered" } | { "kind": "downloaded",
/**
 * Bytes so far.
 */
bytes: number,
/**
 * All bytes.
 */
of: number, } | { "kind": "step",
/**
 * Steps so far.
 */
step: number,
/**
 * All steps.
 */
of: number,
/**
 * Mean loss of the step's examples before the step, in nats. Null under DP-SGD, where the loss carries no noise and
 * is therefore not shown.
 */
loss: number | null, } | { "kind": "paid",
/**
 * Cost of this round.
 */
round: Epsilons,
/**
 * Cost of all rounds so far.
 */
total: Epsilons, } | { "kind": "uploaded",
/**
 * Bytes so far.
 */
bytes: number,
/**
 * All bytes.
 */
of: number, };

/**
 * An upper bound on what rounds reveal.
 */
export type Epsilon = number | "no_bound";

/**
 * The three bounds of one or more rounds.
 */
export type Epsilons = {
/**
 * Of a person, against a party that sees only sums.
 */
aggregate: Epsilon,
/**
 * Of a person, against a party that sees this device's uploads: what remains if secure aggregation fails.
 */
local: Epsilon,
/**
 * Of one training example.
 */
example: Epsilon, };

/**
 * The status of an installation.
 */
export type Status = {
/**
 * Phase of the participation that runs in this process; null: none does.
 */
phase: Phase | null,
/**
 * The earliest time at which `participate` asks for work again; null: it does so at once.
 */
next: number | null,
/**
 * The conditions that currently keep the device from joining a round.
 */
missing: Array<Missing>,
/**
 * How the last participation ended.
 */
last: LastRun | null,
/**
 * The model on this device; null before the first download.
 */
model: ModelInfo | null,
/**
 * Counts of the stored examples.
 */
examples: ExampleCounts,
/**
 * Whether the platform may delete stored data on its own.
 */
storage: Durability,
/**
 * Whether the installation is enrolled; false also after the coordinator has refused its token.
 */
enrolled: boolean,
/**
 * When its token ends, as far as the coordinator has said: `enroll` renews it in the 30 days before.
 */
enrollmentEnds: number | null, };

/**
 * A condition that the device is waiting for.
 */
export type Missing = {
/**
 * `online`, `unmetered`, `power`, `idle` or `not_saving`.
 */
code: string,
/**
 * The same, for the user.
 */
sentence: string, };

/**
 * How the last participation ended.
 */
export type LastRun = {
/**
 * When it ended, by the device's clock.
 */
at: number,
/**
 * `contributed`, `paused`, `waited`, `left` or `enrollment_needed`.
 */
outcome: string,
/**
 * Stable code of the cause; empty for a contribution.
 */
code: string,
/**
 * What happened, for the user.
 */
sentence: string, };

/**
 * Counts of the stored examples.
 */
export type ExampleCounts = {
/**
 * All of them.
 */
total: number,
/**
 * By label.
 */
byLabel: { [key in string]: number },
/**
 * Those whose label the model does not know.
 */
unknownLabel: number,
/**
 * Parts of the store, of 64, whose examples are lost. Put their examples again.
 */
damaged: number, };

/**
 * Whether the platform may delete stored data on its own.
 */
export type Durability = "persistent" | "best_effort";

/**
 * The report of the user's privacy ledger.
 */
export type PrivacyReport = {
/**
 * When the report was created.
 */
time: number,
/**
 * False after a reset: there was further spending before it, of unknown size.
 */
pastKnown: boolean,
/**
 * The unit of privacy: `person`. The epsilon for examples protects one training example instead.
 */
unit: string,
/**
 * The neighboring inputs that are compared: `zeros_instead`, the user's update or zeros in its place.
 */
neighbors: string,
/**
 * The delta of every epsilon here.
 */
delta: number,
/**
 * Total cost since the ledger began.
 */
lifetime: Epsilons,
/**
 * Budget of the ledger's lifetime.
 */
lifetimeLimit: Epsilons,
/**
 * Cost in the current period.
 */
period: Epsilons,
/**
 * Budget of one period.
 */
periodLimit: Epsilons,
/**
 * When the next period begins.
 */
refills: number,
/**
 * The same as a date in UTC.
 */
refillsDate: string,
/**
 * Number of participations without any noise.
 */
roundsWithoutNoise: number,
/**
 * Number of participations whose noise protects single training examples only.
 */
roundsForExamplesOnly: number,
/**
 * Number of unreadable records.
 */
damagedRecords: number,
/**
 * Every participation, oldest first.
 */
receipts: Array<Receipt>,
/**
 * The assumptions behind the numbers, for the user.
 */
assumptions: Array<string>,
/**
 * A summary, for the user.
 */
summary: string, };

/**
 * The record of one participation.
 */
export type Receipt = {
/**
 * Position in the ledger.
 */
sequence: number,
/**
 * When its cost was reserved; null if the record is damaged.
 */
time: number | null,
/**
 * The same as a date in UTC, such as `2027-01-15`.
 */
date: string | null,
/**
 * Task of the round; null if the record is damaged.
 */
task: string | null,
/**
 * Session number within the task.
 */
number: number | null,
/**
 * Id of the privacy policy that the task named.
 */
policy: string | null,
/**
 * Model, cohort and round; null if the facts stored about them are missing.
 */
participation: Participation | null,
/**
 * SHA-256 of the upload, as hex; null if nothing was sent, in which case the cost counts nevertheless.
 */
sent: string | null,
/**
 * How the round protected the user.
 */
protection: Protection,
/**
 * Number of honest devices that must have finished the round for its epsilon to hold; null without noise on the update.
 */
assumesHonest: number | null,
/**
 * Upper bounds on what this round reveals.
 */
epsilon: Epsilons,
/**
 * Upper bounds on what all rounds up to and including this one reveal.
 */
total: Epsilons,
/**
 * A summary, for the user.
 */
sentence: string, };

/**
 * Facts about the round of a receipt.
 */
export type Participation = {
/**
 * Id of the round.
 */
round: string,
/**
 * SHA-256 of the model that was trained, as hex.
 */
model: string,
/**
 * Version of the model that was trained.
 */
version: number,
/**
 * Number of participants.
 */
cohort: number,
/**
 * Smallest number of survivors for which a sum is released.
 */
survivorsMin: number, };

/**
 * How a round protected the user.
 */
export type Protection = "without_noise" | "distributed" | "local" | "examples" | "damage";

/**
 * The kind of an error.
 */
export type ErrorKind = "configuration" | "usage" | "network" | "refused" | "storage" | "privacy_ledger" | "model" | "unsupported" | "internal" | "cancelled";

/**
 * A failed call.
 */
export type Failure = {
/**
 * What the app can do about it, roughly.
 */
kind: ErrorKind,
/**
 * Stable code of the cause.
 */
code: string,
/**
 * What was wrong, where, and what to do.
 */
message: string,
/**
 * How long to wait before the call is repeated, if the coordinator has said so.
 */
retryAfterMs?: number, };
