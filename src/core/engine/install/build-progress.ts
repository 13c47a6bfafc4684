/** How far a build is, read from one line of its own output. */
export interface BuildLine {
  /** Done part, 0 to 1. */
  fraction: number;
  /** What is being built, such as `ggml-cpu/ops.cpp`. */
  what: string;
}

/**
 * Reads `[ 58%] Building CXX object …/chat.cpp.o` (Makefiles) and `[12/345] Building …` (Ninja).
 * Null for every other line: compiler warnings, linker output.
 */
export function parseBuildLine(line: string): BuildLine | null {
  const percent = /^\[\s*(\d{1,3})%\]\s+(.*)$/.exec(line);
  if (percent !== null) return { fraction: Math.min(Number(percent[1]), 100) / 100, what: shortName(percent[2] ?? '') };
  const step = /^\[(\d+)\/(\d+)\]\s+(.*)$/.exec(line);
  if (step === null || Number(step[2]) === 0) return null;
  return { fraction: Math.min(Number(step[1]) / Number(step[2]), 1), what: shortName(step[3] ?? '') };
}

function shortName(text: string): string {
  const object = /CMakeFiles\/[^/]+\.dir\/(\S+?)\.(?:o|obj)\b/.exec(text)?.[1];
  return object ?? text.slice(0, 80);
}
