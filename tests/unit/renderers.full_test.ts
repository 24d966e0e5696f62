import { registerRendererTests } from "./renderers_check.ts";

registerRendererTests(20_000);
