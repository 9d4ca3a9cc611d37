import { ScaleError } from './errors.js';

/**
 * An argument as JSON, in which it crosses to the worker. So a proxy, such as a framework's reactive object, is as good as
 * what it stands for, and nothing crosses that the WebAssembly could not read.
 */
export function json(name: string, value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value, plain);
  } catch (error) {
    // Without the value, which may be a person's.
    throw bad(name, error instanceof ScaleError ? error.message : 'is not plain data');
  }
  if (text === undefined) throw bad(name, 'is missing');
  return text;
}

export function text(name: string, value: unknown): string {
  if (typeof value !== 'string') throw bad(name, `is not a string but ${value === null ? 'null' : typeof value}`);
  return wellFormed(value);
}

export function atLeast(name: string, least: number, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= least) return Math.min(Math.floor(value), 2 ** 31);
  throw bad(name, `is not a number of at least ${least}`);
}

export function bad(name: string, problem: string): ScaleError {
  return new ScaleError('usage', 'bad_argument', `the argument \`${name}\` ${problem}`);
}

function plain(_: string, value: unknown): unknown {
  if (typeof value === 'string') return wellFormed(value);
  // JSON would make null of it, which is read as "left out".
  if (typeof value === 'number' && !Number.isFinite(value)) throw new ScaleError('usage', 'bad_argument', 'holds a number that is not finite');
  return value;
}

/** A text that was cut in the middle of a character ends with half of it, which no UTF-8 can hold. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}
