import { assertEquals } from "@std/assert";

import { withNeeds } from "../needs.ts";
import { runPython, startServer, stopServer } from "./sim_server.ts";

Deno.test({
  ...withNeeds(
    "the memory server and the Python client agree over 100,000 random operations of four clients",
    "python3",
  ),
  async fn(): Promise<void> {
    const server = await startServer(["--capacity", "1MiB"]);
    try {
      const clients = [0, 1, 2, 3].map((i) => runPython(server.port, 25_000, 100 + i, i * 65536));
      assertEquals(await Promise.all(clients), ["25000\n", "25000\n", "25000\n", "25000\n"]);
    } finally {
      await stopServer(server);
    }
  },
});
