/* Written by deno task docs from src/remote/operations.ts. p: path, w: 32 bits, q: 64 bits, b: bytes. */
#ifndef BUSBAR_AGENT_OPERATIONS_H
#define BUSBAR_AGENT_OPERATIONS_H

#define AGENT_PROTOCOL_VERSION 2

#define AGENT_OPERATIONS(OPERATION) \
  OPERATION(1, hello, RIGHT_READ, "") \
  OPERATION(2, read_file, RIGHT_READ, "pqw") \
  OPERATION(3, list, RIGHT_READ, "p") \
  OPERATION(4, read_link, RIGHT_READ, "p") \
  OPERATION(5, real_path, RIGHT_READ, "p") \
  OPERATION(6, file_size, RIGHT_READ, "p") \
  OPERATION(7, read_tree, RIGHT_READ, "pwwwb") \
  OPERATION(8, status, RIGHT_READ, "p") \
  OPERATION(9, try_open, RIGHT_READ, "pw") \
  OPERATION(10, is_dax, RIGHT_READ, "p") \
  OPERATION(11, write_text, RIGHT_WRITE, "pb") \
  OPERATION(12, write_bytes, RIGHT_WRITE, "pqb") \
  OPERATION(13, make_folder, RIGHT_WRITE, "p") \
  OPERATION(14, remove_folder, RIGHT_WRITE, "p") \
  OPERATION(15, journal_open, RIGHT_WRITE, "b") \
  OPERATION(16, journal_append, RIGHT_WRITE, "wb") \
  OPERATION(17, journal_end, RIGHT_WRITE, "wb") \
  OPERATION(18, journal_list, RIGHT_READ, "") \
  OPERATION(19, journal_restore, RIGHT_WRITE, "p") \
  OPERATION(29, journal_undone, RIGHT_WRITE, "wq") \
  OPERATION(20, map_registers, RIGHT_READ, "pqqw") \
  OPERATION(21, close, RIGHT_READ, "w") \
  OPERATION(22, read_register, RIGHT_READ, "wqw") \
  OPERATION(23, write_register, RIGHT_WRITE, "wqwq") \
  OPERATION(24, read_block, RIGHT_READ, "wqww") \
  OPERATION(25, write_block, RIGHT_WRITE, "wqwb") \
  OPERATION(26, poll_register, RIGHT_READ, "wqwqqw") \
  OPERATION(27, open_nvme, RIGHT_READ, "p") \
  OPERATION(28, nvme_admin, RIGHT_READ, "wbbwbww") \
  OPERATION(30, map_file, RIGHT_READ, "pqqw") \
  OPERATION(31, map_anonymous, RIGHT_READ, "qw") \
  OPERATION(32, bind_node, RIGHT_READ, "ww") \
  OPERATION(33, flush, RIGHT_READ, "wqq") \
  OPERATION(34, sync, RIGHT_WRITE, "wqq") \
  OPERATION(35, chase_prepare, RIGHT_READ, "wqqwqww") \
  OPERATION(36, chase, RIGHT_READ, "www") \
  OPERATION(37, stream, RIGHT_READ, "wwqqwqqwww") \
  OPERATION(38, persist_blocks, RIGHT_READ, "wqqwwqww") \
  OPERATION(39, updates, RIGHT_READ, "wqqqqwqqww") \
  OPERATION(40, table_prepare, RIGHT_READ, "wqqqq") \
  OPERATION(41, table_errors, RIGHT_READ, "wqqqq") \
  OPERATION(50, open_oradax, RIGHT_ACCELERATOR, "p") \
  OPERATION(51, oradax_allocate, RIGHT_ACCELERATOR, "wqq") \
  OPERATION(52, oradax_read, RIGHT_ACCELERATOR, "wqw") \
  OPERATION(53, oradax_write, RIGHT_ACCELERATOR, "wqb") \
  OPERATION(54, oradax_submit, RIGHT_ACCELERATOR, "wwb") \
  OPERATION(55, oradax_wait, RIGHT_ACCELERATOR, "www") \
  OPERATION(56, oradax_completion, RIGHT_ACCELERATOR, "ww") \
  OPERATION(57, oradax_info, RIGHT_ACCELERATOR, "ww") \
  OPERATION(58, oradax_kill, RIGHT_ACCELERATOR, "ww") \
  OPERATION(59, oradax_dequeue, RIGHT_ACCELERATOR, "w")

#endif
