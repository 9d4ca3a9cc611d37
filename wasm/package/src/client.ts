import { atLeast, bad, json, text } from './arguments.js';
import { closed, ScaleError } from './errors.js';
import { Link, type Extras } from './link.js';
import { NAME, type CallOptions, type Options, type ParticipateOptions } from './options.js';
import { Persistence } from './persistence.js';
import { checkSupport } from './support.js';
import { onSuspend, Surroundings } from './surroundings.js';
import type {
  Example, Guardrails, ModelInfo, Outcome, Prediction, PrivacyReport, PutSummary, Status,
} from './types.js';

/** Whether this is the build for the package's own tests. */
declare const __TESTING__: boolean;

/** What clients of the same installation in other tabs tell each other. */
type News = 'changed' | 'forgotten';

function checkAddress(coordinator: string): void {
  // Not `URL.canParse`, which Safari 16 does not have.
  try {
    const { protocol, username, password, search, hash } = new URL(coordinator);
    if (/^https?:$/.test(protocol) && username + password + search + hash === '') return;
  } catch {
    // Refused below.
  }
  // Without what was given: it may hold a password.
  const problem = 'the option `coordinator` is not a plain address, such as https://fl.example.org';
  throw new ScaleError('configuration', 'bad_option', problem);
}

/**
 * One installation of an app, for one task that classifies lines of text. Its calls run in a worker, and one participation
 * runs at a time; all other calls may be made meanwhile.
 *
 * Dispatches `status` when {@link ScaleClient.status} has changed: after a call, in another tab, or because the worker
 * ended.
 */
export class ScaleClient extends EventTarget {
  readonly #link: Link;
  readonly #surroundings: Surroundings;
  readonly #persistence: Persistence;
  readonly #news: BroadcastChannel;
  readonly #off: () => void;
  #closed = false;

  private constructor(options: Options, persistence: Persistence) {
    super();
    this.#persistence = persistence;
    const link = new Link(options, () => ({ known: this.#surroundings.known(), persistent: persistence.persistent }), () =>
      this.#changed(),
    );
    this.#link = link;
    this.#surroundings = new Surroundings(() => {
      link.tell();
      this.#changed();
    });
    this.#off = onSuspend(() => link.pause());
    this.#news = new BroadcastChannel(options.name ?? NAME);
    this.#news.onmessage = ({ data }: MessageEvent<News>) => {
      // The worker still has the keys of an installation that is gone.
      if (data === 'forgotten') link.end(new ScaleError('usage', 'forgotten', 'another tab has forgotten this installation'));
      this.#changed();
    };
  }

  /**
   * Checks that the browser has what is needed. Nothing is loaded yet: the first call starts the worker.
   *
   * @throws {ScaleError} of kind `unsupported`, or `configuration` for an address that is none.
   */
  static async create(options: Options): Promise<ScaleClient> {
    checkSupport();
    checkAddress(options.coordinator);
    const persistence = new Persistence(options.name ?? NAME);
    const client = new ScaleClient(options, persistence);
    await Promise.all([persistence.load(), client.#surroundings.settled]);
    return client;
  }

  /**
   * Exchanges an enrollment token for a device identity, or renews the device's own token if it was refused or ends soon.
   * Otherwise nothing is sent. Resolves with the device id.
   */
  async enroll(token: string, { signal }: CallOptions = {}): Promise<string> {
    return this.#changing(this.#call('enroll', () => [text('token', token)], { signal })) as Promise<string>;
  }

  /**
   * Stores examples; one whose id is stored replaces the old one. If one is refused, none is stored. If the browser's storage
   * fails on the way, some are stored: put the same examples again.
   */
  async put(examples: Example[]): Promise<PutSummary> {
    return this.#changing(this.#call('put', () => [json('examples', examples)])) as Promise<PutSummary>;
  }

  /** Deletes examples permanently. Resolves with how many of the ids were there. */
  async remove(ids: string[]): Promise<number> {
    return this.#changing(this.#call('remove', () => [json('ids', ids)])) as Promise<number>;
  }

  /** Classifies lines with the model on this device, without network. `top`: labels for each line, default 1. */
  async predict(texts: string[], { top = 1 }: { top?: number } = {}): Promise<Prediction[]> {
    return this.#call('predict', () => [json('texts', texts), atLeast('top', 1, top)]) as Promise<Prediction[]>;
  }

  /** Downloads the newest model. Resolves with null if it is on this device already. */
  async refreshModel({ signal }: CallOptions = {}): Promise<ModelInfo | null> {
    return this.#changing(this.#call('refreshModel', () => [], { signal })) as Promise<ModelInfo | null>;
  }

  /** Takes part in one round with the stored examples, or continues a round that was interrupted. */
  async participate({ signal, onProgress, ...run }: ParticipateOptions = {}): Promise<Outcome> {
    return this.#changing(this.#call('participate', () => [options(run)], { signal, onProgress })) as Promise<Outcome>;
  }

  /** The status of the installation, also while a round runs. */
  async status(): Promise<Status> {
    return this.#call('status') as Promise<Status>;
  }

  /** The report of the privacy ledger. While a round runs, it is as of the last record. */
  async privacyReport(): Promise<PrivacyReport> {
    return this.#call('privacyReport') as Promise<PrivacyReport>;
  }

  /** The report as JSON, for the person to keep. */
  async exportPrivacyReport(): Promise<string> {
    return this.#call('exportPrivacyReport') as Promise<string>;
  }

  /** Replaces a locked privacy ledger by a new one. Resolves with false, and changes nothing, if it is intact. */
  async resetPrivacyLedger(): Promise<boolean> {
    return this.#changing(this.#call('resetPrivacyLedger')) as Promise<boolean>;
  }

  /** The limits as they hold: for each, the stricter of the app's and the compiled one. */
  async guardrails(): Promise<Guardrails> {
    return this.#call('guardrails') as Promise<Guardrails>;
  }

  /**
   * Deletes a person's data: their examples, or everything of this installation, which also ends its identity and its record
   * of the privacy budget spent.
   */
  async forget(what: 'examples' | 'everything'): Promise<void> {
    await this.#call('forget', () => {
      if (what !== 'examples' && what !== 'everything') throw bad('what', 'is neither "examples" nor "everything"');
      return [what];
    });
    if (what === 'everything') this.#persistence.forget();
    this.#tell(what === 'everything' ? 'forgotten' : 'changed');
  }

  /** Waits until nothing is written any more, and ends the worker. Abort a running participation first. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.#link.close();
    } finally {
      this.#surroundings.close();
      this.#off();
      this.#news.close();
    }
  }

  /** `args`: checked here, so that a mistake of the app is its own error and reaches no worker. */
  async #call(method: Parameters<Link['call']>[0], args: () => (string | number)[] = () => [], extras?: Extras): Promise<unknown> {
    if (this.#closed) throw closed();
    return this.#link.call(method, args(), extras);
  }

  async #changing<T>(call: Promise<T>): Promise<T> {
    try {
      const done = await call;
      // There is something to keep now.
      void this.#persistence.ask().then((isNew) => isNew && this.#link.tell());
      return done;
    } finally {
      this.#tell('changed');
    }
  }

  #tell(news: News): void {
    // A call may end after the client was closed.
    if (this.#closed) return;
    this.#news.postMessage(news);
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new Event('status'));
  }

  static {
    if (__TESTING__) {
      const testing = function (this: ScaleClient, what: string, given: ParticipateOptions = {}): Promise<unknown> {
        const { signal, onProgress, ...options } = given;
        return this.#call('testing', () => [what, JSON.stringify(options)], { signal, onProgress });
      };
      Object.assign(this.prototype, { testing });
    }
  }
}

/** JSON of the options of a participation. */
function options({ budgetMs, ...run }: ParticipateOptions): string {
  return json('options', budgetMs === undefined ? run : { ...run, budgetMs: atLeast('budgetMs', 0, budgetMs) });
}
