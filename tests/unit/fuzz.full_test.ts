import { registerFuzzTests } from "./fuzz.ts";

registerFuzzTests({ rounds: 100_000, pageRounds: 100, chainRounds: 5_000 });
