/*
 * A client of the ivshmem server protocol, as QEMU's ivshmem-doorbell is one: ivshmem_client SOCKET COMMANDS
 *
 * Prints the messages of the server, then hands over NOPs through the memory that it was given, each after the device went to
 * sleep, ringing the bell; and how many rings the device took.
 */
#define _GNU_SOURCE
#include "api/type2_protocol.h"

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int socket_fd;

/* A message, and the descriptor with it, or -1. */
static int64_t receive(int *descriptor) {
  int64_t number = 0;
  struct iovec part = {&number, sizeof number};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
  if (recvmsg(socket_fd, &message, MSG_WAITALL) != sizeof number) {
    puts("closed");
    exit(1);
  }
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *descriptor = -1;
  if (header != NULL) memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
  printf("%lld%s\n", (long long)number, header == NULL ? "" : " with a descriptor");
  return number;
}

static void rest(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

int main(int count, char **words) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (count < 3 || strlen(words[1]) >= sizeof address.sun_path) return 2;
  strcpy(address.sun_path, words[1]);
  socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0 || connect(socket_fd, (struct sockaddr *)&address, sizeof address) != 0) return 3;
  int none, memory, bell, own;
  receive(&none);
  receive(&none);
  receive(&memory);
  receive(&bell);
  receive(&own);
  fflush(stdout);
  struct stat info;
  if (fstat(memory, &info) != 0) return 4;
  uint8_t *base = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (base == MAP_FAILED) return 5;
  volatile uint32_t *submit = (volatile uint32_t *)(void *)(base + REG_SUBMIT);
  uint32_t *done = (uint32_t *)(void *)(base + REG_DONE), taken = 0;
  const long commands = strtol(words[2], NULL, 10);
  for (long i = 0; i < commands; i++) {
    rest(40);
    const uint32_t number = *submit + 1;
    *(volatile uint32_t *)(void *)(base + REG_CMD) = CMD_NOP;
    __atomic_store_n(submit, number, __ATOMIC_RELEASE);
    const uint64_t one = 1;
    if (write(bell, &one, sizeof one) != sizeof one) return 6;
    for (int waits = 0; __atomic_load_n(done, __ATOMIC_ACQUIRE) != number && waits < 5000; waits++) rest(1);
    if (__atomic_load_n(done, __ATOMIC_ACQUIRE) != number) return 7;
    rest(40);
    /* Asleep again, it has taken the ring. */
    struct pollfd left = {.fd = bell, .events = POLLIN};
    for (int waits = 0; poll(&left, 1, 0) != 0 && waits < 5000; waits++) rest(1);
    taken += poll(&left, 1, 0) == 0;
  }
  printf("%u rings taken, flags %u, doorbell 0x%x\n", taken, *(uint32_t *)(void *)(base + REG_EXT_FLAGS),
         *(uint32_t *)(void *)(base + REG_DOORBELL));
  fflush(stdout);
  /* Until the test ends it: others are turned away meanwhile. */
  while (getchar() != EOF) continue;
  return 0;
}
