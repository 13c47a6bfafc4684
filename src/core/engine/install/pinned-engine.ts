/** The llama.cpp version that llamero installs, tests against and documents. */
export const ENGINE_TAG = 'v0.5.0';

/** The GitHub repository of llama.cpp. */
export const ENGINE_REPOSITORY = 'ggml-org/llama.cpp';

/**
 * The npm package whose tarball carries the complete source of {@link ENGINE_TAG} as a git bundle.
 * `integrity` is `dist.integrity` of the registry: whatever the registry or a mirror of it sends, only these bytes are built.
 */
export const SOURCE_PACKAGE = {
  name: 'node-llama-cpp',
  version: '3.22.1',
  integrity: 'sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==',
  /** Size of the tarball, for the progress of its download. */
  sizeBytes: 35_735_663,
  /** The git bundle inside the tarball. */
  bundlePath: 'package/llama/gitRelease.bundle',
} as const;

/**
 * The oldest build that llamero drives: b9442 of 2026-05-31. llamero relies on a UNIX socket as `--host`
 * (ggml-org/llama.cpp#12613, April 2025), `/v1/messages` (November 2025), `/v1/responses` (January 2026), `--no-ui` and
 * `continue_final_message` (#23012, both May 2026). Every version that counts as 0.1.0 or later (August 2026) is younger.
 */
export const MINIMUM_BUILD = 9442;
/** The oldest semantic version; llama.cpp had only build numbers before it. */
export const MINIMUM_VERSION = '0.1.0';
