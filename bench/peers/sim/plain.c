// The recurrences of the simulator as a plain C loop over a binary trace: the measure of goal 1 in docs/benchmarks/sim.md.
//
// Topology (1,(2,3)), latencies 200/250 ns, switch 70 ns, 50 GB/s each way, window 16. Pages of 4096 bytes belong to
// endpoint 1 + page mod 3. Links are served in the order of the trace, which is what a plain loop can do: with one
// stream and equal endpoints this is the order of arrival. No page table, no histogram, no epochs.
//
// usage: plain TRACE   prints: accesses, end in ns, mean wait in ns, seconds of processor time

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WINDOW 16
#define TICKS 1024.0

struct record {
	uint64_t address;
	uint32_t gap;
	uint8_t op;
	uint8_t host;
	uint16_t bytes;
};

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double later(double a, double b)
{
	return a > b ? a : b;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: plain TRACE\n");
		return 2;
	}
	int file = open(argv[1], O_RDONLY);
	struct stat status;
	if (file < 0 || fstat(file, &status) != 0 || status.st_size < 48) {
		fprintf(stderr, "plain: cannot read %s\n", argv[1]);
		return 3;
	}
	void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	if (bytes == MAP_FAILED || memcmp(bytes, "BBTRACE1", 8) != 0) {
		fprintf(stderr, "plain: %s is no binary trace\n", argv[1]);
		return 2;
	}
	const struct record *records = (const void *)((const char *)bytes + 32);
	size_t count = ((size_t)status.st_size - 32) / 16;

	double begin = seconds();
	double ring[WINDOW] = {0};
	double end_free[4][2] = {{0}};
	double uplink_free[2] = {0};
	const double service = 1311; // 64 B at 50 GB/s, in ticks
	double path[4][2];
	for (int node = 1; node < 4; node++) {
		path[node][0] = (200 + (node > 1 ? 70 : 0)) * TICKS;
		path[node][1] = (250 + (node > 1 ? 70 : 0)) * TICKS;
	}
	double issue = 0, end = 0, waits = 0;
	uint64_t reads = 0;
	for (size_t i = 0; i < count; i++) {
		const struct record *r = &records[i];
		int node = 1 + (int)((r->address >> 12) % 3);
		int write = r->op & 1;
		issue = later(issue + r->gap, ring[i % WINDOW]);
		double at = issue, wait = 0;
		if (write && node > 1) {
			double start = later(at, uplink_free[1]);
			wait += start - at;
			at = uplink_free[1] = start + service;
		}
		double start = later(at, end_free[node][write]);
		wait += start - at;
		at = end_free[node][write] = start + service;
		if (!write && node > 1) {
			start = later(at, uplink_free[0]);
			wait += start - at;
			uplink_free[0] = start + service;
		}
		double done = issue + path[node][write] + wait;
		ring[i % WINDOW] = done;
		end = later(end, done);
		waits += wait;
		reads += (uint64_t)!write;
	}
	double took = seconds() - begin;
	printf("{\"accesses\": %zu, \"reads\": %" PRIu64 ", \"endNs\": %.3f, \"meanWaitNs\": %.3f, \"seconds\": %.6f}\n", count,
	       reads, end / TICKS, waits / TICKS / (double)count, took);
	return 0;
}
