/* The undo journal of this host. */
#include "agent.h"
#include <errno.h>
#include <stdio.h>
int32_t operation_journal_open(struct call *call) { (void)call; return -ENOSYS; }
int32_t operation_journal_append(struct call *call) { (void)call; return -ENOSYS; }
int32_t operation_journal_end(struct call *call) { (void)call; return -ENOSYS; }
int32_t operation_journal_list(struct call *call) { (void)call; return -ENOSYS; }
int32_t operation_journal_restore(struct call *call) { (void)call; return -ENOSYS; }
void journal_lost(void) {}
int journal_command(int argc, char **argv) { (void)argc, (void)argv; return 2; }
