import { Limit } from './limit.js';

/** The answer to a gRPC-web request, as the core takes it. */
export interface Answer {
  http: number;
  status: string | undefined;
  message: string | undefined;
  details: string | undefined;
  body: Uint8Array;
}

/** A response that is longer is not read to its end: no message of the schema has more than 4 MiB. */
const LONGEST_ANSWER = 5 << 20;

/** Calls to the coordinator and downloads, both limited in time: nobody else ends a fetch that is not answered. */
export class Network {
  readonly #coordinator: string;
  readonly #callMs: number;
  readonly #silenceMs: number;

  constructor({ coordinator, callMs, silenceMs }: { coordinator: string; callMs: number; silenceMs: number }) {
    this.#coordinator = coordinator.replace(/\/+$/, '');
    this.#callMs = callMs;
    this.#silenceMs = silenceMs;
  }

  /** `authorization`: the header's value, for every call but the enrollment. */
  async unary(path: string, authorization: string | undefined, body: Uint8Array<ArrayBuffer>): Promise<Answer> {
    const headers: Record<string, string> = { 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' };
    if (authorization !== undefined) headers['authorization'] = authorization;
    const limit = new Limit(this.#callMs, 'the coordinator has not answered');
    try {
      // A redirect would take the token elsewhere.
      const response = await fetch(this.#coordinator + path, { method: 'POST', headers, body, ...plain, redirect: 'error', signal: limit.signal });
      const header = (name: string) => response.headers.get(name) ?? undefined;
      return {
        http: response.status,
        status: header('grpc-status'),
        message: header('grpc-message'),
        details: header('grpc-status-details-bin'),
        body: await wholeOf(response),
      };
    } catch (error) {
      throw limit.explained(error);
    } finally {
      limit.end();
    }
  }

  async download(url: string, from: number): Promise<Download> {
    const limit = new Limit(this.#silenceMs, 'the download fell silent');
    try {
      const headers: Record<string, string> = from > 0 ? { range: `bytes=${from}-` } : {};
      const response = await fetch(url, { headers, ...plain, signal: limit.signal });
      return new Download(response, limit);
    } catch (error) {
      limit.end();
      throw limit.explained(error);
    }
  }
}

/** No cookies and no address of the page: calls carry a token, and nothing else says who asks. */
const plain = { credentials: 'omit', referrerPolicy: 'no-referrer', cache: 'no-store' } as const;

async function wholeOf(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
    length += part.value.length;
    parts.push(part.value);
    if (length > LONGEST_ANSWER) {
      reader?.cancel().catch(() => {});
      throw new Error(`the answer has more than ${LONGEST_ANSWER} bytes, more than any message`);
    }
  }
  const whole = new Uint8Array(length);
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

/** A download that has started. */
export class Download {
  readonly http: number;
  readonly contentRange: string | undefined;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  readonly #limit: Limit;

  constructor(response: Response, limit: Limit) {
    this.http = response.status;
    this.contentRange = response.headers.get('content-range') ?? undefined;
    this.#reader = response.body?.getReader();
    this.#limit = limit;
  }

  /** The next bytes; undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    this.#limit.again();
    try {
      const { value } = (await this.#reader?.read()) ?? {};
      return value;
    } catch (error) {
      throw this.#limit.explained(error);
    }
  }

  stop(): void {
    this.#limit.end();
    this.#reader?.cancel().catch(() => {});
  }
}
