import type { EngineBinary } from '../../core/engine/install/engine-binary.ts';
import type { MemoryEstimate } from '../../core/engine/model/estimate-memory.ts';
import type { InspectedModel } from '../../core/engine/model/inspect-model.ts';
import type { MachineMemory } from '../../core/engine/model/machine-memory.ts';

/** Something that was looked at: a value, or why there is none, in words that name the remedy. */
export type Finding<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly message: string };

/** Everything that `llamero doctor` looked at, before anything is judged. Sizes in bytes. */
export interface DoctorFacts {
  readonly machine: {
    readonly nodeVersion: string;
    readonly cores: number;
    readonly memory: MachineMemory;
    /** Files that the process may have open; null where the platform has no such limit. */
    readonly openFiles: number | null;
    readonly cache: Finding<{ readonly directory: string; readonly freeBytes: number }>;
  };
  /** Value null: none in reach. Null: llamero would attach to an engine that someone else runs. */
  readonly engine: Finding<EngineBinary | null> | null;
  /** Only looked at when there is no engine. Not ok: what is missing to build one. */
  readonly toolchain: Finding<null> | null;
  readonly configuration: Finding<ConfigurationFacts>;
  /** Null: no model is named, the built-in one would be served. */
  readonly model: Finding<ModelFacts> | null;
  readonly port: PortFacts | null;
}

/** What the configuration says that matters here. */
export interface ConfigurationFacts {
  /** Null: there is no file, defaults and environment apply. */
  readonly fileName: string | null;
}

/** The model, and what it needs as configured. */
export interface ModelFacts {
  readonly inspected: InspectedModel;
  readonly parallel: number;
  readonly ctxSize: number;
  readonly memory: MemoryEstimate;
}

/** The port that the gateway would listen on. */
export interface PortFacts {
  readonly host: string;
  readonly port: number;
  /** Whether the user named it: then a taken one is an error, not a reason to take the next. */
  readonly named: boolean;
  /** The system's reason why it cannot be used, such as `EADDRINUSE`; null: it can. */
  readonly refused: string | null;
}
