/**
 * Who may use the client protocols. Without credentials everybody may; the composition root decides whether that is allowed.
 *
 * Invariants: every configured credential is compared on every attempt, in constant time for its length class (the injected comparison),
 * so that the time an answer takes tells nothing; secrets never reach a log, an error or a metric.
 */

/** Compares two byte strings of any lengths without telling by its duration where they differ. */
export type ConstantTimeEqual = (a: Uint8Array, b: Uint8Array) => boolean;

export interface Credential {
  /** The user's name; Redis clients that give a password only are the user `default`. */
  readonly name: string;
  readonly secret: Uint8Array;
  /** May use `/v1/admin/…`. */
  readonly admin: boolean;
}

/** Who a client has shown to be. */
export interface Identity {
  readonly name: string;
  readonly admin: boolean;
}

/** Everybody, where no credentials are configured. */
export const EVERYBODY: Identity = { name: 'default', admin: true };

export class Gate {
  readonly #credentials: readonly Credential[];
  readonly #equal: ConstantTimeEqual;

  constructor(credentials: readonly Credential[], equal: ConstantTimeEqual) {
    this.#credentials = credentials;
    this.#equal = equal;
  }

  /** No credentials are configured: everybody is admitted unasked. */
  get open(): boolean {
    return this.#credentials.length === 0;
  }

  /**
   * @param name `undefined` admits the holder of any configured secret (HTTP's bearer scheme names nobody)
   * @returns `undefined` where name and secret do not fit
   */
  admit(name: string | undefined, secret: Uint8Array): Identity | undefined {
    let admitted: Identity | undefined;
    for (const credential of this.#credentials) {
      const fits = this.#equal(credential.secret, secret);
      if (fits && (name === undefined || name === credential.name)) admitted ??= { name: credential.name, admin: credential.admin };
    }
    return admitted;
  }
}

/** A gate that stands open. */
export const OPEN_GATE: Gate = new Gate([], () => false);
