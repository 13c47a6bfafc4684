/** A part of a JSON Schema, as far as the double reads it. */
interface Schema {
  readonly type?: string | string[];
  readonly enum?: unknown[];
  readonly const?: unknown;
  readonly properties?: Record<string, Schema>;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly anyOf?: Schema[];
  readonly oneOf?: Schema[];
}

const DEEPEST = 16;

/** A small value that fits a JSON Schema: every property present, strings ` 1`, numbers 1. Unknown keywords are ignored. */
export function schemaInstance(schema: Schema, depth = 0): unknown {
  if (depth > DEEPEST) return null;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return schema.enum[0];
  const choice = schema.anyOf?.[0] ?? schema.oneOf?.[0];
  if (choice !== undefined) return schemaInstance(choice, depth + 1);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  switch (type ?? (schema.properties === undefined ? 'string' : 'object')) {
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([name, property]) => [name, schemaInstance(property, depth + 1)]),
      );
    case 'array':
      return Array.from({ length: schema.minItems ?? 1 }, () => schemaInstance(schema.items ?? {}, depth + 1));
    case 'integer':
    case 'number':
      return 1;
    case 'boolean':
      return true;
    case 'null':
      return null;
    default:
      return ' 1';
  }
}
