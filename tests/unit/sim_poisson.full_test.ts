import { assert } from "@std/assert";

import { poissonWait } from "./sim_poisson.ts";

for (const [rho, percent] of [[0.5, 1], [0.8, 2], [0.9, 4]] as const) {
  Deno.test(`Poisson arrivals at ρ ${rho}: mean wait within ${percent} % of ρ·s/(2(1−ρ)) at 2·10⁶ accesses, three seeds`, () => {
    for (const seed of [1, 2, 3]) {
      const { mean, expected } = poissonWait(rho, 2_000_000, seed);
      assert(Math.abs(mean / expected - 1) < percent / 100, `seed ${seed}: ${mean} ns, not ${expected}`);
    }
  });
}
