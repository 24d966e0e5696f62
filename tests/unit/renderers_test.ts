import { registerRendererTests } from "./renderers_check.ts";

registerRendererTests(100);
