import { registerFuzzTests } from "./fuzz.ts";

registerFuzzTests({ rounds: 3_000, pageRounds: 20, chainRounds: 200 });
