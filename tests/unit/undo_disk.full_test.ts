/** The tests of undo_disk_test.ts at more offsets. */
if (Deno.env.get("BUSBAR_UNDO_STEP") === undefined) Deno.env.set("BUSBAR_UNDO_STEP", "3");
await import("./undo_disk_test.ts");
