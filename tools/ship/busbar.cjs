#!/usr/bin/env node
// Runs busbar's tools with the Deno that was installed with it: `npx busbar dump_bar0 soft:nvme`. No script runs when the
// package is installed, so Deno's own start finds its program (and works after npm install --ignore-scripts).
"use strict";
const { spawn } = require("node:child_process");
const path = require("node:path");

const deno = require("deno/install_api.cjs").runInstall();
const flags = ["run", "--quiet", "--allow-all", "--no-config", "--no-lock", "--no-remote", "--no-npm"];
const child = spawn(deno, [...flags, path.join(__dirname, "../app/busbar.js"), ...process.argv.slice(2)], {
  stdio: "inherit",
  env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" },
});
// A terminal's Ctrl-C reaches both; what is sent to this process alone is passed on.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => signal !== "SIGINT" && child.kill(signal));
}
child.on("error", (error) => {
  process.stderr.write(`busbar: cannot start ${deno}: ${error.message}\n`);
  process.exit(3);
});
child.on("exit", (code, signal) => process.exit(signal === null ? code : signal === "SIGTERM" ? 143 : 1));
