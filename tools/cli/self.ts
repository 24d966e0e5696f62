/**
 * The command that starts one of busbar's tools again, in a process of its own.
 * @module
 */

/**
 * Program and arguments that start `tool`, the one that runs now, in whatever form busbar was installed: from its
 * sources, as a bundle or as an executable.
 */
export function selfCommand(tool: string): string[] {
  // Under `busbar` the tool's name is the first argument; a tool's own file has no such argument.
  const name = Deno.args[0] === tool ? [tool] : [];
  if (Deno.build.standalone) return [Deno.execPath(), ...name];
  // A bundle needs no settings of the folder that it lies in.
  const bundle = Deno.mainModule.endsWith(".js") ? ["--no-config", "--no-lock", "--no-remote", "--no-npm"] : [];
  return [Deno.execPath(), "run", "--quiet", "--allow-all", "--no-check", ...bundle, Deno.mainModule, ...name];
}

/**
 * Program and arguments that start another tool than the one that runs now, from the same installation.
 *
 * @param tool the one that is wanted
 * @param self the one that runs
 */
export function toolCommand(tool: string, self: string): string[] {
  const isUnderBusbar = Deno.args[0] === self;
  const command = selfCommand(self);
  if (isUnderBusbar) return [...command.slice(0, -1), tool];
  // A tool's own file or executable has its neighbours beside it.
  const last = command.length - 1;
  return command.map((word, i) => i === last ? word.replace(new RegExp(`${self}(\\.\\w+)?$`), `${tool}$1`) : word);
}
