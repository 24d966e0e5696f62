/**
 * What the host does before a lab machine boots for tests.
 * @module
 */

import { BUSBAR, BUSBAR_SOFT, findLibrary, SOFT_CUDA } from "../../ffi/build.ts";
import { TOOLS } from "../../tools/manual/catalog.ts";
import { NVME_CLI_PRELOAD } from "./nvme_cli.ts";

/** How many kills there are in the loop of kills (kill_loop.ts), where it is not as many as usual. */
export const KILLS_VARIABLE = "BUSBAR_KILLS";

/**
 * Makes on the host what a guest could only make slowly: builds the libraries, and brings every module into the cache.
 *
 * @returns environment for the tests in the guest. The guest's root is another user than the host's, so it would not
 * trust the host's library by itself; naming it in the environment is what says that it may.
 */
export async function prepareHost(): Promise<Readonly<Record<string, string>>> {
  const root = new URL("../..", import.meta.url);
  const tools = ["busbar", ...Object.keys(TOOLS)].map((name) => new URL(`tools/${name}.ts`, root).pathname);
  await new Deno.Command(Deno.execPath(), { args: ["cache", "--quiet", ...tools] }).output();
  const kills = Deno.env.get(KILLS_VARIABLE);
  return {
    ...kills === undefined ? {} : { [KILLS_VARIABLE]: kills },
    ...Object.fromEntries(
      [BUSBAR, BUSBAR_SOFT, SOFT_CUDA, NVME_CLI_PRELOAD].map((library) => [library.variable, findLibrary(library)]),
    ),
  };
}
