/**
 * Whether a program can run on the software CUDA driver: those that have NVIDIA's runtime linked in cannot, because it takes
 * no other driver than NVIDIA's.
 * @module
 */

import { BusbarError, systemError } from "../../core/error.ts";

const PTX = 1, MACHINE_CODE = 2;

/** What an ELF file says of itself. */
interface ElfFile {
  readonly sections: ReadonlySet<string>;
  /** The libraries that it names. */
  readonly needed: readonly string[];
  /** Its device code, as fat binaries one after the other; null for none. */
  readonly fatbins: DataView<ArrayBuffer> | null;
}

/** Where nvcc puts device code. */
const FATBIN_SECTION = ".nv_fatbin";
const MOST_HEADERS = 4096;
const HEADER_BYTES = 64;
const SECTION_BYTES = 64;
/** Most bytes of a string table or dynamic section that are looked at. */
const MOST_TABLE_BYTES = 64 << 20;

/** Reads `sizeBytes` at `offset`; null past the end. */
function readAt(file: Deno.FsFile, offset: number, sizeBytes: number): DataView<ArrayBuffer> | null {
  if (!Number.isSafeInteger(offset) || sizeBytes > MOST_TABLE_BYTES) return null;
  const bytes = new Uint8Array(sizeBytes);
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let at = 0; at < sizeBytes;) {
    const got = file.readSync(bytes.subarray(at));
    if (got === null) return null;
    at += got;
  }
  return new DataView(bytes.buffer);
}

function textAt(table: DataView<ArrayBuffer>, offset: number): string {
  if (offset >= table.byteLength) return "";
  const bytes = new Uint8Array(table.buffer, offset);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

interface Section {
  readonly name: number;
  readonly type: number;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly link: number;
}

/** Sections and needed libraries of a 64-bit little-endian ELF file (System V ABI, chapters 4 and 5); null for another file. */
function readElf(file: Deno.FsFile): ElfFile | null {
  const header = readAt(file, 0, HEADER_BYTES);
  if (header === null || header.getUint32(0) !== 0x7f454c46 || header.getUint16(4) !== 0x0201) return null;
  const count = header.getUint16(60, true), names = header.getUint16(62, true);
  if (count > MOST_HEADERS || header.getUint16(58, true) !== SECTION_BYTES) return null;
  const table = readAt(file, Number(header.getBigUint64(40, true)), count * SECTION_BYTES);
  if (table === null) return null;
  const sections = Array.from({ length: count }, (_, i): Section => {
    const at = i * SECTION_BYTES;
    return {
      name: table.getUint32(at, true),
      type: table.getUint32(at + 4, true),
      offset: Number(table.getBigUint64(at + 24, true)),
      sizeBytes: Number(table.getBigUint64(at + 32, true)),
      link: table.getUint32(at + 40, true),
    };
  });
  const strings = (section: Section | undefined): DataView<ArrayBuffer> | null =>
    section === undefined ? null : readAt(file, section.offset, section.sizeBytes);
  const sectionNames = strings(sections[names]);
  const nameOf = (section: Section): string => sectionNames === null ? "" : textAt(sectionNames, section.name);
  const code = sections.find((section) => nameOf(section) === FATBIN_SECTION);
  return {
    fatbins: strings(code),
    sections: new Set(sectionNames === null ? [] : sections.map(({ name }) => textAt(sectionNames, name))),
    needed: sections.filter(({ type }) => type === 6).flatMap((section) =>
      neededOf(file, section, strings(sections[section.link]))
    ),
  };
}

/** DT_NEEDED entries of a dynamic section. */
function neededOf(file: Deno.FsFile, section: Section, names: DataView<ArrayBuffer> | null): string[] {
  const NEEDED = 1n, ENTRY_BYTES = 16;
  const entries = readAt(file, section.offset, section.sizeBytes);
  if (entries === null || names === null) return [];
  const found: string[] = [];
  for (let at = 0; at + ENTRY_BYTES <= entries.byteLength; at += ENTRY_BYTES) {
    if (entries.getBigUint64(at, true) === NEEDED) {
      found.push(textAt(names, Number(entries.getBigUint64(at + 8, true))));
    }
  }
  return found;
}

/** Where a program is: the path itself, or where PATH has it; null where it is nowhere. */
export function findExecutable(name: string, path: string = Deno.env.get("PATH") ?? ""): string | null {
  if (name.includes("/")) return name;
  for (const folder of path.split(":")) {
    try {
      if (Deno.statSync(`${folder}/${name}`).isFile) return `${folder}/${name}`;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

/** Kinds of the entries of fat binaries: PTX is 1, machine code 2. What is cut off or damaged adds nothing. */
function kindsIn(fatbins: DataView<ArrayBuffer>): Set<number> {
  const MAGIC = 0xba55ed50, HEADER = 16;
  const kinds = new Set<number>();
  for (let at = 0; at + HEADER <= fatbins.byteLength;) {
    // Between two of them there may be padding.
    if (fatbins.getUint32(at, true) !== MAGIC) {
      at += 8;
      continue;
    }
    const end = at + fatbins.getUint16(at + 6, true) + Number(fatbins.getBigUint64(at + 8, true));
    let entry = at + fatbins.getUint16(at + 6, true);
    while (entry + HEADER <= Math.min(end, fatbins.byteLength)) {
      kinds.add(fatbins.getUint16(entry, true));
      const sizeBytes = fatbins.getUint32(entry + 4, true) + Number(fatbins.getBigUint64(entry + 8, true));
      entry += Math.max(sizeBytes, HEADER);
    }
    at = Math.max(end, at + HEADER);
  }
  return kinds;
}

/**
 * Refuses a program that has NVIDIA's runtime linked in: it holds device code and names no CUDA library. And one whose device
 * code is machine code only.
 *
 * @throws {BusbarError} `unsupported` for such a program; `absent` for none
 */
export function refuseStaticCudart(program: string): void {
  const path = findExecutable(program);
  if (path === null) {
    throw new BusbarError("absent", `there is no program '${program}' in PATH`, { operation: "run", path: program });
  }
  let elf: ElfFile | null;
  try {
    using file = Deno.openSync(path);
    elf = readElf(file);
  } catch (cause) {
    throw systemError(cause, "read program", path);
  }
  if (elf === null || !elf.sections.has(FATBIN_SECTION)) return;
  const kinds = elf.fatbins === null ? new Set<number>() : kindsIn(elf.fatbins);
  if (kinds.has(MACHINE_CODE) && !kinds.has(PTX)) {
    throw new BusbarError(
      "unsupported",
      `${path}: holds machine code and no PTX: rebuild it with nvcc -gencode arch=compute_75,code=compute_75`,
      { operation: "run", path },
    );
  }
  if (elf.needed.some((name) => /(?:^|\/)lib(?:cuda|cudart)\.so/.test(name))) return;
  throw new BusbarError(
    "unsupported",
    `${path}: built with the static CUDA runtime, which runs on NVIDIA's driver only: rebuild it with nvcc -cudart shared`,
    { operation: "run", path },
  );
}
