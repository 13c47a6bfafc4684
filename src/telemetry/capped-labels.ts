/** A label value is cut here; names of models are shorter. */
const LONGEST_VALUE = 80;

/**
 * A label whose values are not known beforehand: so many of them are told apart, all further ones are `other`. Each value makes series of
 * its own that are never forgotten, so that there must be an end to them.
 */
export class CappedLabels {
  readonly #most: number;
  readonly #known = new Map<string, string>();

  /** @param most values that are told apart. */
  constructor(most: number) {
    this.#most = most;
  }

  /** The value to use; `none` for null. */
  of(value: string | null): string {
    if (value === null || value === '') return 'none';
    const known = this.#known.get(value);
    if (known !== undefined) return known;
    if (this.#known.size >= this.#most) return 'other';
    const label = value.slice(0, LONGEST_VALUE);
    this.#known.set(value, label);
    return label;
  }
}
