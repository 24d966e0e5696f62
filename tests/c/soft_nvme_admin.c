/*
 * The admin command set of the software controller, against the specification and against what was measured on QEMU's
 * controller: data structures at their offsets, status codes, limits, events.
 */
#define _GNU_SOURCE
#include "soft_nvme_driver.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

static void rest_ms(long ms) {
  const struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&rest, NULL);
}

static uint16_t identify(struct host *h, uint32_t cns, uint32_t nsid, uint32_t csi) {
  memset(h->page.at, 0xee, 4096);
  return host_admin_page(h, command(0x06, nsid, cns, csi << 24, 0));
}

static uint16_t get_log(struct host *h, uint32_t lid, uint32_t nsid, uint32_t bytes, uint64_t offset, uint32_t cdw10_bits) {
  memset(h->page.at, 0xee, 8192);
  struct cmd c = command(0x02, nsid, lid | (bytes / 4 - 1) << 16 | cdw10_bits, 0, (uint32_t)offset);
  c.d[13] = (uint32_t)(offset >> 32);
  return host_admin_page(h, c);
}

static struct done set_feature(struct host *h, uint32_t fid, uint32_t nsid, uint32_t value) {
  struct cmd c = command(0x09, nsid, fid, value, 0);
  set_prps(&c, h->page.address, 0);
  return host_admin(h, c);
}

static struct done get_feature(struct host *h, uint32_t fid_and_select, uint32_t nsid, uint32_t cdw11) {
  struct cmd c = command(0x0a, nsid, fid_and_select, cdw11, 0);
  set_prps(&c, h->page.address, 0);
  return host_admin(h, c);
}

/* ---- Identify ---------------------------------------------------------------------------------------------------- */

static void identify_controller(void) {
  struct host h;
  host_open(&h, "serial=SN-17\nmn=A model\nfr=9.8.7\nmdts=5\ncntlid=258\n");
  host_start(&h, 32);
  CHECK_EQUAL(identify(&h, 1, 0, 0), 0);
  const uint8_t *p = h.page.at;
  CHECK(memcmp(p + 4, "SN-17               ", 20) == 0);
  CHECK(memcmp(p + 24, "A model                                 ", 40) == 0);
  CHECK(memcmp(p + 64, "9.8.7   ", 8) == 0);
  CHECK_EQUAL(p[77], 5);
  CHECK_EQUAL(get16(p + 78), 258);
  CHECK_EQUAL(get32(p + 80), host_load32(&h, 8)); /* VER is VS */
  CHECK_EQUAL(p[111], 1);
  CHECK_EQUAL(get16(p + 256) & 0x11e, 0x11e); /* format, firmware, namespaces, self-test, doorbell buffers */
  CHECK_EQUAL(get16(p + 256) & 1, 0);         /* no security commands */
  CHECK_EQUAL(p[512], 0x66);
  CHECK_EQUAL(p[513], 0x44);
  CHECK_EQUAL(get32(p + 516), 256);
  CHECK_EQUAL(get16(p + 520) & 0x1df, 0x1df);
  CHECK(memcmp(p + 768, "nqn.", 4) == 0 && memchr(p + 768, 0, 224) != NULL);
  CHECK_EQUAL(get16(p + 2048), 900);
  host_close(&h);
}

static void identify_namespaces(void) {
  struct host h;
  host_open(&h, "namespaces=1;3:lba=4096,size=1MiB;200:zoned=1,size=32MiB,zone=4MiB,zcap=3MiB,mar=5,mor=3,shared=1\n");
  host_start(&h, 32);
  const uint8_t *p = h.page.at;

  CHECK_EQUAL(identify(&h, 2, 0, 0), 0);
  CHECK_EQUAL(get32(p), 1);
  CHECK_EQUAL(get32(p + 4), 3);
  CHECK_EQUAL(get32(p + 8), 200);
  CHECK_EQUAL(get32(p + 12), 0);
  CHECK_EQUAL(identify(&h, 2, 3, 0), 0); /* identifiers greater than that one */
  CHECK_EQUAL(get32(p), 200);
  CHECK_EQUAL(get32(p + 4), 0);
  CHECK_EQUAL(identify(&h, 2, 0xfffffffe, 0), 0x400b);
  CHECK_EQUAL(identify(&h, 0x10, 1, 0), 0);
  CHECK_EQUAL(get32(p), 3);
  CHECK_EQUAL(identify(&h, 7, 0, 2), 0);
  CHECK_EQUAL(get32(p), 200);
  CHECK_EQUAL(get32(p + 4), 0);
  CHECK_EQUAL(identify(&h, 7, 0, 0), 0);
  CHECK_EQUAL(get32(p + 4), 3);
  CHECK_EQUAL(identify(&h, 7, 0, 1), 0x4002); /* no key value command set */

  CHECK_EQUAL(identify(&h, 0, 3, 0), 0);
  CHECK_EQUAL(get64(p), 256); /* 1 MiB of 4096 */
  CHECK_EQUAL(get64(p + 8), 256);
  CHECK_EQUAL(p[128 + 4 * (p[26] & 15) + 2], 12);
  CHECK_EQUAL(get16(p + 128 + 4 * (p[26] & 15)), 0);
  CHECK_EQUAL(p[25], 7); /* 512 and 4096, each with 0, 8, 16 and 64 bytes of metadata */
  static const uint16_t ms[] = {0, 8, 16, 64, 0, 8, 16, 64};
  for (int i = 0; i < 8; i++) CHECK_EQUAL(get32(p + 128 + 4 * i) & 0xffffff, ms[i] | (i < 4 ? 9u : 12u) << 16);

  /* As QEMU has it: identifiers that cannot be, that can be and are not. */
  CHECK_EQUAL(identify(&h, 0, 0, 0), 0x400b);
  CHECK_EQUAL(identify(&h, 0, 257, 0), 0x400b);
  CHECK_EQUAL(identify(&h, 0, 2, 0), 0);
  for (int i = 0; i < 4096; i++) CHECK_EQUAL(p[i], 0);
  CHECK_EQUAL(identify(&h, 3, 2, 0), 0x4002);
  CHECK_EQUAL(identify(&h, 0, 0xffffffff, 0), 0); /* what all have in common, as namespaces can be managed */
  CHECK_EQUAL(get64(p), 0);
  CHECK_EQUAL(p[25], 7);

  CHECK_EQUAL(identify(&h, 3, 200, 0), 0);
  CHECK_EQUAL(get32(p), 0x0801); /* EUI64, 8 bytes */
  CHECK_EQUAL(get32(p + 12), 0x1002);
  CHECK_EQUAL(get32(p + 32), 0x1003);
  CHECK_EQUAL(p[32 + 4 + 6] >> 4, 4); /* a UUID of version 4 */
  CHECK_EQUAL(get32(p + 52), 0x0104);
  CHECK_EQUAL(p[56], 2);
  CHECK_EQUAL(get32(p + 57), 0);

  CHECK_EQUAL(identify(&h, 5, 200, 2), 0);
  CHECK_EQUAL(get32(p + 4), 4); /* MAR and MOR are 0-based */
  CHECK_EQUAL(get32(p + 8), 2);
  CHECK_EQUAL(get64(p + 2816), 8192);          /* 4 MiB of 512 */
  CHECK_EQUAL(get64(p + 2816 + 4 * 16), 1024); /* of 4096 */
  CHECK_EQUAL(identify(&h, 5, 1, 2), 0x4002);  /* not a zoned one */
  CHECK_EQUAL(identify(&h, 5, 1, 0), 0);
  CHECK_EQUAL(identify(&h, 6, 0, 0), 0);
  CHECK_EQUAL(identify(&h, 6, 0, 2), 0);
  CHECK_EQUAL(identify(&h, 8, 200, 0), 0);
  CHECK_EQUAL(p[1], 1);
  CHECK_EQUAL(p[14] & 1, 1);
  CHECK_EQUAL(identify(&h, 0x1c, 0, 0), 0);
  CHECK_EQUAL(get64(p), 5);
  CHECK_EQUAL(identify(&h, 0x13, 0, 0), 0);
  CHECK_EQUAL(get32(p), 0x00010001);
  CHECK_EQUAL(identify(&h, 0x12, 1, 0), 0);
  CHECK_EQUAL(get32(p), 0x00010001);
  CHECK_EQUAL(host_admin_page(&h, command(0x06, 0, 0x13 | 2u << 16, 0, 0)), 0); /* from controller 2 */
  CHECK_EQUAL(get16(p), 0);
  CHECK_EQUAL(identify(&h, 0x14, 0, 0), 0x4002);
  CHECK_EQUAL(identify(&h, 0xff, 0, 0), 0x4002);
  host_close(&h);
}

/* ---- queues ------------------------------------------------------------------------------------------------------ */

static uint16_t create_cq(struct host *h, uint32_t qid, uint32_t size, uint32_t cdw11, uint64_t address) {
  struct cmd c = command(0x05, 0, (size - 1) << 16 | qid, cdw11, 0);
  set_prps(&c, address, 0);
  return host_admin(h, c).status;
}

static uint16_t create_sq(struct host *h, uint32_t qid, uint32_t size, uint32_t cdw11, uint64_t address) {
  struct cmd c = command(0x01, 0, (size - 1) << 16 | qid, cdw11, 0);
  set_prps(&c, address, 0);
  return host_admin(h, c).status;
}

static void queue_errors(void) {
  struct host h;
  host_open(&h, "mqes=255\nqueues=4\nvectors=3\n");
  host_start(&h, 32);
  const struct dma m = host_memory(&h, 65536);
  CHECK_EQUAL(create_cq(&h, 0, 16, 1, m.address), 0x4101);
  CHECK_EQUAL(create_cq(&h, 5, 16, 1, m.address), 0x4101);
  CHECK_EQUAL(create_cq(&h, 0xffff, 16, 1, m.address), 0x4101);
  CHECK_EQUAL(create_cq(&h, 1, 1, 1, m.address), 0x4102); /* a size of 0 as written */
  CHECK_EQUAL(create_cq(&h, 1, 257, 1, m.address), 0x4102);
  CHECK_EQUAL(create_cq(&h, 1, 16, 0, m.address), 0x4002);     /* PC = 0, but CAP.CQR */
  CHECK_EQUAL(create_cq(&h, 1, 16, 3 | 3u << 16, m.address), 0x4108); /* no such vector */
  CHECK_EQUAL(create_cq(&h, 1, 16, 1 | 99u << 16, m.address), 0);     /* without interrupts it says nothing */
  CHECK_EQUAL(create_cq(&h, 1, 16, 1, m.address), 0x4101); /* in use */
  CHECK_EQUAL(create_cq(&h, 2, 16, 1, m.address + 8), 0x4013);
  CHECK_EQUAL(create_cq(&h, 2, 256, 1, m.address + 8192), 0);
  CHECK_EQUAL(create_sq(&h, 1, 16, 1u << 16 | 1, 0), 0x4002);
  CHECK_EQUAL(create_sq(&h, 1, 16, 3u << 16 | 1, m.address + 4096), 0x4100); /* no such completion queue */
  CHECK_EQUAL(create_sq(&h, 1, 16, 9u << 16 | 1, m.address + 4096), 0x4101); /* nor can there be */
  CHECK_EQUAL(create_sq(&h, 0, 16, 1u << 16 | 1, m.address + 4096), 0x4101);
  CHECK_EQUAL(create_sq(&h, 1, 1, 1u << 16 | 1, m.address + 4096), 0x4102);
  CHECK_EQUAL(create_sq(&h, 1, 16, 1u << 16 | 1, m.address + 4096), 0);
  CHECK_EQUAL(create_sq(&h, 1, 16, 1u << 16 | 1, m.address + 4096), 0x4101);
  CHECK_EQUAL(create_sq(&h, 3, 16, 1u << 16 | 1, m.address + 16384), 0); /* two on one completion queue */
  CHECK_EQUAL(host_admin(&h, command(0x04, 0, 1, 0, 0)).status, 0x010c);
  CHECK_EQUAL(host_admin(&h, command(0x00, 0, 0, 0, 0)).status, 0x4101);
  CHECK_EQUAL(host_admin(&h, command(0x00, 0, 2, 0, 0)).status, 0x4101);
  CHECK_EQUAL(host_admin(&h, command(0x00, 0, 1, 0, 0)).status, 0);
  CHECK_EQUAL(host_admin(&h, command(0x04, 0, 1, 0, 0)).status, 0x010c);
  CHECK_EQUAL(host_admin(&h, command(0x00, 0, 3, 0, 0)).status, 0);
  CHECK_EQUAL(host_admin(&h, command(0x04, 0, 1, 0, 0)).status, 0);
  CHECK_EQUAL(host_admin(&h, command(0x04, 0, 1, 0, 0)).status, 0x4101);
  CHECK_EQUAL(host_admin(&h, command(0x04, 0, 0, 0, 0)).status, 0x4101);

  /* How many there may be is settled before the first is created. */
  CHECK_EQUAL(set_feature(&h, 7, 0, 1u << 16 | 1).status, 0x400c);
  host_restart(&h);
  CHECK_EQUAL(get_feature(&h, 7, 0, 0).dw0, 3u << 16 | 3);
  CHECK_EQUAL(set_feature(&h, 7, 0, 0xfffe0001).dw0, 3u << 16 | 1);
  CHECK_EQUAL(set_feature(&h, 7, 0, 0xffff0001).status, 0x4002);
  CHECK_EQUAL(create_cq(&h, 3, 16, 1, m.address), 0);
  CHECK_EQUAL(create_sq(&h, 3, 16, 3u << 16 | 1, m.address + 4096), 0x4101);
  CHECK_EQUAL(create_sq(&h, 2, 16, 3u << 16 | 1, m.address + 4096), 0);
  host_close(&h);
}

/* ---- small commands ---------------------------------------------------------------------------------------------- */

static void unknown_commands(void) {
  struct host h;
  host_open(&h, "");
  host_start(&h, 32);
  static const uint8_t opcodes[] = {0x03, 0x07, 0x19, 0x1a, 0x1c, 0x1e, 0x20, 0x81, 0x82, 0x86, 0xc0, 0xff};
  for (size_t i = 0; i < sizeof opcodes; i++) CHECK_EQUAL(host_admin_page(&h, command(opcodes[i], 0, 0, 0, 0)), 0x4001);
  struct cmd fused = command(0x06, 0, 1, 0, 0);
  fused.d[0] |= 1u << 8;
  CHECK_EQUAL(host_admin_page(&h, fused), 0x0002); /* QEMU: may be retried */
  struct cmd sgl = command(0x06, 0, 1, 0, 0);
  sgl.d[0] |= 1u << 14;
  CHECK_EQUAL(host_admin_page(&h, sgl), 0x4002);
  CHECK_EQUAL(host_admin(&h, command(0x18, 0, 0, 0, 0)).status, 0);
  host_close(&h);
}

static void abort_commands(void) {
  struct host h;
  host_open(&h, "fault=hang,opcode=0x02,nth=2\n");
  host_start(&h, 32);
  struct queue q;
  host_create(&h, &q, 1, 16, -1);
  struct done done = host_admin(&h, command(0x08, 0, 1 | 77u << 16, 0, 0));
  CHECK_EQUAL(done.status, 0);
  CHECK_EQUAL(done.dw0, 1); /* nothing was aborted, which is a success */
  CHECK_EQUAL(host_admin(&h, command(0x08, 0, 7, 0, 0)).status, 0x4002); /* no such queue */

  struct cmd read = command(0x02, 1, 0, 0, 0);
  set_prps(&read, h.page.address, 0);
  CHECK_EQUAL(host_run(&h, &q, read).status, 0);
  read.d[0] |= 500u << 16;
  host_put(&q, &read);
  host_ring(&h, &q);
  CHECK(!host_take(&h, &q, 20).came); /* it hangs */
  /* While it is in flight its identifier is taken. */
  struct cmd same = read;
  host_put(&q, &same);
  host_ring(&h, &q);
  done = host_take(&h, &q, 5000);
  CHECK(done.came && done.cid == 500);
  CHECK_EQUAL(done.status, 0x4003);
  done = host_admin(&h, command(0x08, 0, 1 | 500u << 16, 0, 0));
  CHECK_EQUAL(done.status, 0);
  CHECK_EQUAL(done.dw0, 0);
  done = host_take(&h, &q, 5000);
  CHECK(done.came && done.cid == 500);
  CHECK_EQUAL(done.status, 0x0007);
  done = host_run(&h, &q, command(0x00, 1, 0, 0, 0));
  CHECK_EQUAL(done.status, 0);
  host_close(&h);
}

/* ---- features ---------------------------------------------------------------------------------------------------- */

static void features(void) {
  enum { DEFAULT = 1 << 8, SAVED = 2 << 8, ABILITIES = 3 << 8 };
  const uint32_t save = UINT32_C(1) << 31;
  struct host h;
  host_open(&h, "namespaces=1;4\n");
  host_start(&h, 32);
  static const uint8_t known[] = {1, 2, 4, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xe, 0xf, 0x11, 0x16, 0x17, 0x18, 0x19, 0x80, 0x81};
  for (size_t i = 0; i < sizeof known; i++) {
    CHECK_EQUAL(get_feature(&h, known[i], 0, 0).status, 0);
    CHECK_EQUAL(get_feature(&h, known[i] | DEFAULT, 0, 0).status, 0);
    CHECK_EQUAL(get_feature(&h, known[i] | SAVED, 0, 0).status, 0);
    CHECK_EQUAL(get_feature(&h, known[i] | ABILITIES, 0, 0).dw0 & 6, 4); /* changeable, of the controller */
  }
  static const uint8_t unknown[] = {0, 0x0d, 0x10, 0x12, 0x1d, 0x7f, 0x82, 0xc0, 0xff};
  for (size_t i = 0; i < sizeof unknown; i++) {
    CHECK_EQUAL(get_feature(&h, unknown[i], 0, 0).status, 0x4002);
    CHECK_EQUAL(set_feature(&h, unknown[i], 0, 0).status, 0x4002);
  }
  CHECK_EQUAL(get_feature(&h, 1 | 4 << 8, 0, 0).status, 0x4002);

  /* Current, default and saved values, and what a reset makes of them. */
  const uint32_t first = get_feature(&h, 1, 0, 0).dw0;
  CHECK_EQUAL(set_feature(&h, 1, 0, 3).status, 0);
  CHECK_EQUAL(get_feature(&h, 1, 0, 0).dw0, 3);
  CHECK_EQUAL(get_feature(&h, 1 | SAVED, 0, 0).dw0, first);
  CHECK_EQUAL(set_feature(&h, 1 | save, 0, 2).status, 0);
  CHECK_EQUAL(get_feature(&h, 1 | DEFAULT, 0, 0).dw0, first);
  CHECK_EQUAL(get_feature(&h, 1 | SAVED, 0, 0).dw0, 2);
  CHECK_EQUAL(set_feature(&h, 1, 0, 4).status, 0);
  host_restart(&h);
  CHECK_EQUAL(get_feature(&h, 1, 0, 0).dw0, 2);
  CHECK_EQUAL(set_feature(&h, 4 | save, 0, 300).status, 0x410d);
  CHECK_EQUAL(get_feature(&h, 4 | ABILITIES, 0, 0).dw0 & 1, 0);

  /* Scope. */
  CHECK_EQUAL(set_feature(&h, 6, 1, 1).status, 0x410f);
  CHECK_EQUAL(set_feature(&h, 6, 0xffffffff, 1).status, 0);
  CHECK_EQUAL(get_feature(&h, 5 | ABILITIES, 1, 0).dw0 & 2, 2);
  CHECK_EQUAL(get_feature(&h, 5, 0, 0).status, 0x400b);
  CHECK_EQUAL(get_feature(&h, 5, 0xffffffff, 0).status, 0x400b);
  CHECK_EQUAL(get_feature(&h, 5, 2, 0).status, 0x4002);
  CHECK_EQUAL(set_feature(&h, 5, 0xffffffff, 1u << 16).status, 0);
  CHECK_EQUAL(get_feature(&h, 5, 4, 0).dw0, 1u << 16);

  /* Values. */
  CHECK_EQUAL(set_feature(&h, 2, 0, 9).status, 0x4002); /* no such power state */
  CHECK_EQUAL(get_feature(&h, 4, 0, 0).dw0, 343);
  CHECK_EQUAL(get_feature(&h, 4, 0, 1u << 20).dw0, 0); /* under */
  CHECK_EQUAL(set_feature(&h, 4, 0, 1u << 20 | 280).status, 0);
  CHECK_EQUAL(get_feature(&h, 4, 0, 1u << 20).dw0, 280);
  CHECK_EQUAL(get_feature(&h, 4, 0, 5u << 16).status, 0x4002);
  CHECK_EQUAL(set_feature(&h, 9, 0, 1u << 16 | 2).status, 0);
  CHECK_EQUAL(get_feature(&h, 9, 0, 2).dw0, 1u << 16 | 2);
  CHECK_EQUAL(get_feature(&h, 9, 0, 500).status, 0x4002);

  /* Data structures. */
  memset(h.page.at, 0, 4096);
  put64(h.page.at, 1700000000123);
  CHECK_EQUAL(set_feature(&h, 0x0e, 0, 0).status, 0);
  memset(h.page.at, 0, 8);
  CHECK_EQUAL(get_feature(&h, 0x0e, 0, 0).status, 0);
  const uint64_t now = get64(h.page.at) & 0xffffffffffff;
  CHECK(now >= 1700000000123 && now < 1700000000123 + 60000);
  CHECK_EQUAL(h.page.at[6] >> 1 & 7, 1); /* it was set by the host */
  for (int i = 0; i < 16; i++) h.page.at[i] = (uint8_t)(i + 1);
  CHECK_EQUAL(set_feature(&h, 0x81, 0, 1).status, 0);
  memset(h.page.at, 0, 4096);
  CHECK_EQUAL(get_feature(&h, 0x81, 0, 1).status, 0);
  CHECK_EQUAL(h.page.at[15], 16);
  memset(h.page.at, 0, 4096);
  h.page.at[0] = 1;
  CHECK_EQUAL(set_feature(&h, 0x16, 0, 0).status, 0);
  h.page.at[0] = 2;
  CHECK_EQUAL(set_feature(&h, 0x16, 0, 0).status, 0x4002);
  CHECK_EQUAL(get_feature(&h, 0x16, 0, 0).status, 0);
  CHECK_EQUAL(h.page.at[0], 1);
  memset(h.page.at, 0x5a, 128);
  CHECK_EQUAL(set_feature(&h, 3, 1, 1).status, 0);
  memset(h.page.at, 0, 4096);
  CHECK_EQUAL(get_feature(&h, 3, 1, 0).dw0, 1);
  CHECK_EQUAL(h.page.at[127], 0x5a);
  CHECK_EQUAL(h.page.at[128], 0);
  host_close(&h);

  host_open(&h, "vwc=0\n");
  host_start(&h, 32);
  CHECK_EQUAL(get_feature(&h, 6, 0, 0).status, 0x4002);
  host_close(&h);
}

/* A host that has set a keep alive timeout and then says nothing has died: the controller stops. */
static void keep_alive(void) {
  struct host h;
  host_open(&h, "");
  host_start(&h, 32);
  CHECK_EQUAL(set_feature(&h, 0x0f, 0, 100).status, 0);
  for (int i = 0; i < 4; i++) {
    rest_ms(40);
    CHECK_EQUAL(host_admin(&h, command(0x18, 0, 0, 0, 0)).status, 0);
  }
  CHECK(host_wait_status(&h, 2, 2, 5000));
  host_restart(&h);
  CHECK_EQUAL(host_admin(&h, command(0x18, 0, 0, 0, 0)).status, 0);
  host_close(&h);
}

/* ---- logs -------------------------------------------------------------------------------------------------------- */

static void logs(void) {
  struct host h;
  host_open(&h, "namespaces=1:shared=1;2:zoned=1\nsize=32MiB\n");
  host_start(&h, 32);
  struct queue q;
  host_create(&h, &q, 1, 16, -1);
  const uint8_t *p = h.page.at;

  CHECK_EQUAL(get_log(&h, 0, 0, 1024, 0, 0), 0);
  static const uint8_t supported[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0c, 0x81, 0xbf};
  for (size_t i = 0; i < sizeof supported; i++) CHECK_EQUAL(get32(p + 4 * supported[i]) & 1, 1);
  CHECK_EQUAL(get32(p + 4 * 0x0d) & 1, 0);
  CHECK_EQUAL(get_log(&h, 0x0d, 0, 512, 0, 0), 0x4109);
  CHECK_EQUAL(get_log(&h, 0xc0, 0, 512, 0, 0), 0x4109);

  /* Counters that count: 3 reads of 2,000 blocks are 6,000 sectors, 6 units of 1000 × 512 bytes. */
  const struct dma big = host_memory(&h, 1u << 20);
  const struct dma list = host_memory(&h, 4096);
  for (unsigned i = 1; i < 256; i++) put64(list.at + 8 * (i - 1), big.address + 4096 * i);
  for (int i = 0; i < 6; i++) {
    struct cmd read = command(i < 3 ? 0x02 : 0x01, 1, 0, 0, 1000 - 1);
    set_prps(&read, big.address, list.address);
    CHECK_EQUAL(host_run(&h, &q, read).status, 0);
  }
  CHECK_EQUAL(get_log(&h, 2, 0xffffffff, 512, 0, 0), 0);
  CHECK_EQUAL(p[0], 0);
  CHECK(get16(p + 1) > 273 && get16(p + 1) < 343);
  CHECK_EQUAL(p[3], 100);
  CHECK_EQUAL(get64(p + 32), 3);
  CHECK_EQUAL(get64(p + 48), 3);
  CHECK_EQUAL(get64(p + 64), 3);
  CHECK_EQUAL(get64(p + 80), 3);
  CHECK_EQUAL(get64(p + 176), 2); /* the two logs above that do not exist */
  CHECK_EQUAL(get_log(&h, 2, 9, 512, 0, 0), 0x4002);
  CHECK_EQUAL(get_log(&h, 2, 300, 512, 0, 0), 0x400b);

  /* Errors, newest first, with place and address. */
  struct cmd bad = command(0x02, 1, 0xffffffff, 7, 0);
  set_prps(&bad, big.address, 0);
  const struct done failed = host_run(&h, &q, bad);
  CHECK_EQUAL(failed.status, 0x4080);
  CHECK_EQUAL(get_log(&h, 1, 0, 192, 0, 0), 0);
  CHECK_EQUAL(get64(p), 5);
  CHECK_EQUAL(get16(p + 8), 1);
  CHECK_EQUAL(get16(p + 10), failed.cid);
  CHECK_EQUAL(get16(p + 12) >> 1, 0x4080);
  CHECK_EQUAL(get16(p + 14), 40); /* CDW10 */
  CHECK_EQUAL(get64(p + 16), 0x7ffffffff);
  CHECK_EQUAL(get32(p + 24), 1);
  CHECK_EQUAL(get64(p + 64), 4);
  CHECK_EQUAL(get16(p + 64 + 12) >> 1, 0x400b);
  CHECK_EQUAL(get16(p + 64 + 14), 4); /* NSID */

  /* Offsets: dwords, inside the log; the end of a log is followed by zeros. */
  CHECK_EQUAL(get_log(&h, 1, 0, 64, 64, 0), 0);
  CHECK_EQUAL(get64(p), 4);
  CHECK_EQUAL(get_log(&h, 2, 0, 64, 2, 0), 0x4002);
  CHECK_EQUAL(get_log(&h, 2, 0, 64, 516, 0), 0x4002);
  CHECK_EQUAL(get_log(&h, 2, 0, 1024, 0, 0), 0);
  CHECK_EQUAL(get32(p + 1020), 0);
  CHECK_EQUAL(get_log(&h, 2, 0, 4, 508, 0), 0);
  CHECK_EQUAL(p[4], 0xee);
  CHECK_EQUAL(get_log(&h, 2, 0, 4, UINT64_C(1) << 40, 0), 0x4002);

  CHECK_EQUAL(get_log(&h, 5, 0, 4096, 0, 0), 0);
  CHECK_EQUAL(get32(p + 4 * 0x06), 1);
  CHECK_EQUAL(get32(p + 4 * 0x80) & 7, 7);
  CHECK_EQUAL(get32(p + 4 * 0x81), 0);
  CHECK_EQUAL(get32(p + 1024 + 4 * 0x01), 3);
  CHECK_EQUAL(get32(p + 1024 + 4 * 0x7d), 0);
  struct cmd zoned_effects = command(0x02, 0, 5 | 1023u << 16, 0, 0);
  zoned_effects.d[14] = 2u << 24;
  CHECK_EQUAL(host_admin_page(&h, zoned_effects), 0);
  CHECK_EQUAL(get32(p + 1024 + 4 * 0x7d), 3);

  CHECK_EQUAL(get_log(&h, 7, 0, 1024, 0, 1u << 8), 0); /* create */
  CHECK_EQUAL(p[0], 7);
  CHECK_EQUAL(p[381], 1);
  const uint16_t last = get16(p + 8);
  CHECK(last > 0 && get16(p + 12) >= last);
  CHECK_EQUAL(p[512], 1);
  CHECK_EQUAL(get_log(&h, 7, 0, 512, 512u * last, 0), 0);
  CHECK_EQUAL(p[511], (uint8_t)last);
  CHECK_EQUAL(get_log(&h, 0x0c, 0, 64, 0, 0), 0);
  CHECK_EQUAL(get16(p + 8), 1);
  CHECK_EQUAL(get32(p + 16), 1);
  CHECK_EQUAL(get32(p + 20), 2);
  CHECK_EQUAL(p[32], 1);
  CHECK_EQUAL(get32(p + 52), 2);
  CHECK_EQUAL(host_admin_page(&h, command(0x02, 0, 9 | 127u << 16, 1u << 16, 0)), 0);
  CHECK_EQUAL(host_admin_page(&h, command(0x02, 0, 9 | 127u << 16, 5u << 16, 0)), 0x4002);
  CHECK_EQUAL(get_log(&h, 0xbf, 1, 4096, 0, 0), 0x4002); /* no zones there */
  CHECK_EQUAL(get_log(&h, 0xbf, 2, 4096, 0, 0), 0);
  host_close(&h);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void put_event_request(struct host *h, uint16_t cid) {
  struct cmd c = command(0x0c, 0, 0, 0, 0);
  c.d[0] |= (uint32_t)cid << 16;
  host_put(&h->admin, &c);
  host_ring(h, &h->admin);
}

static void events(void) {
  struct host h;
  host_open(&h, "");
  host_start(&h, 32);
  h.cid = 100;
  for (uint16_t cid = 1; cid <= 4; cid++) put_event_request(&h, cid);
  put_event_request(&h, 5); /* one more than AERL allows */
  struct done done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 5);
  CHECK_EQUAL(done.status, 0x0105);

  /* Not until the driver has asked for it. */
  host_fault(&h, "temperature=400");
  CHECK(!host_take(&h, &h.admin, 10).came);
  host_fault(&h, "temperature=300");
  CHECK_EQUAL(set_feature(&h, 0x0b, 0, 2).status, 0);
  host_fault(&h, "temperature=400");
  done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 1 && done.status == 0);
  CHECK_EQUAL(done.dw0, 0x020101); /* SMART, temperature, log 2 */
  /* Masked until the log is read, and a reader may leave it masked. */
  host_fault(&h, "temperature=300;temperature=400");
  CHECK(!host_take(&h, &h.admin, 10).came);
  CHECK_EQUAL(get_log(&h, 2, 0xffffffff, 512, 0, 1u << 15), 0);
  CHECK_EQUAL(h.page.at[0], 2);
  CHECK(!host_take(&h, &h.admin, 10).came);
  CHECK_EQUAL(get_log(&h, 2, 0xffffffff, 512, 0, 0), 0);
  done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 2);
  CHECK_EQUAL(done.dw0, 0x020101);
  CHECK_EQUAL(get_log(&h, 2, 0xffffffff, 512, 0, 0), 0);

  /* A doorbell value out of range, and the doorbell of a queue that does not exist: both events of type "error". */
  struct queue q;
  host_create(&h, &q, 1, 16, -1);
  host_store32(&h, 0x1000 + 2 * h.stride, 16);
  done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 3);
  CHECK_EQUAL(done.dw0, 0x010100);
  CHECK_EQUAL(host_load32(&h, 0x1c), 1); /* as with QEMU: no fatal status */
  CHECK_EQUAL(get_log(&h, 1, 0, 64, 0, 0), 0);
  host_store32(&h, 0x1000 + 2 * 5 * h.stride, 3);
  done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 4);
  CHECK_EQUAL(done.dw0, 0x010000);
  CHECK_EQUAL(host_counter(&h, "doorbell_errors"), 2);
  struct cmd flush = command(0x00, 1, 0, 0, 0);
  CHECK_EQUAL(host_run(&h, &q, flush).status, 0);

  /* An event without a request waits for one. */
  CHECK_EQUAL(get_log(&h, 1, 0, 64, 0, 0), 0);
  host_store32(&h, 0x1000 + 3 * h.stride, 9);
  rest_ms(5);
  CHECK(!host_peek(&h.admin));
  put_event_request(&h, 6);
  done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 6);
  CHECK_EQUAL(done.dw0, 0x010100);

  /* A request can be aborted, and a reset forgets them all. */
  put_event_request(&h, 7);
  struct cmd abort_it = command(0x08, 0, 7u << 16, 0, 0);
  abort_it.d[0] |= 60u << 16;
  host_put(&h.admin, &abort_it);
  host_ring(&h, &h.admin);
  uint16_t seen[2] = {0};
  for (int i = 0; i < 2; i++) {
    done = host_take(&h, &h.admin, 5000);
    CHECK(done.came);
    seen[i] = done.cid;
    CHECK_EQUAL(done.status, done.cid == 7 ? 0x0007 : 0);
    if (done.cid == 60) CHECK_EQUAL(done.dw0, 0);
  }
  CHECK_EQUAL(seen[0] + seen[1], 67);
  for (uint16_t cid = 1; cid <= 4; cid++) put_event_request(&h, cid);
  host_restart(&h);
  for (uint16_t cid = 1; cid <= 4; cid++) put_event_request(&h, cid);
  CHECK_EQUAL(host_admin(&h, command(0x18, 0, 0, 0, 0)).status, 0);
  host_fault(&h, "event=0x810106"); /* sanitize completed */
  done = host_take(&h, &h.admin, 5000);
  CHECK(done.came);
  CHECK_EQUAL(done.dw0, 0x810106);
  host_close(&h);
}

/* ---- longer operations ------------------------------------------------------------------------------------------- */

static void self_test(void) {
  struct host h;
  host_open(&h, "selftest_ms=60\n");
  host_start(&h, 32);
  const uint8_t *p = h.page.at;
  CHECK_EQUAL(get_log(&h, 6, 0, 564, 0, 0), 0);
  CHECK_EQUAL(p[0], 0);
  CHECK_EQUAL(p[4] & 15, 15); /* no result */
  CHECK_EQUAL(host_admin(&h, command(0x14, 0xffffffff, 3, 0, 0)).status, 0x4002);
  CHECK_EQUAL(host_admin(&h, command(0x14, 300, 1, 0, 0)).status, 0x400b);
  CHECK_EQUAL(host_admin(&h, command(0x14, 0xffffffff, 1, 0, 0)).status, 0);
  CHECK_EQUAL(host_admin(&h, command(0x14, 0xffffffff, 2, 0, 0)).status, 0x411d);
  CHECK_EQUAL(get_log(&h, 6, 0, 564, 0, 0), 0);
  CHECK_EQUAL(p[0], 1);
  CHECK(p[1] <= 100);
  for (int i = 0; p[0] != 0 && i < 1000; i++) {
    rest_ms(2);
    CHECK_EQUAL(get_log(&h, 6, 0, 564, 0, 0), 0);
  }
  CHECK_EQUAL(p[0], 0);
  CHECK_EQUAL(p[4], 0x10);
  CHECK_EQUAL(get32(p + 4 + 12), 0xffffffff);
  CHECK_EQUAL(host_admin(&h, command(0x14, 1, 2, 0, 0)).status, 0);
  CHECK_EQUAL(host_admin(&h, command(0x14, 1, 15, 0, 0)).status, 0);
  CHECK_EQUAL(get_log(&h, 6, 0, 564, 0, 0), 0);
  CHECK_EQUAL(p[4], 0x21);
  CHECK_EQUAL(p[4 + 28], 0x10);
  CHECK_EQUAL(host_admin(&h, command(0x14, 1, 1, 0, 0)).status, 0);
  host_restart(&h);
  CHECK_EQUAL(get_log(&h, 6, 0, 564, 0, 0), 0);
  CHECK_EQUAL(p[4], 0x12); /* ended by a reset */
  host_close(&h);
}

static uint16_t download(struct host *h, uint32_t bytes, uint32_t offset) {
  return host_admin_page(h, command(0x11, 0, bytes / 4 - 1, offset / 4, 0));
}

static uint16_t commit(struct host *h, uint32_t slot, uint32_t action) {
  return host_admin(h, command(0x10, 0, slot | action << 3, 0, 0)).status;
}

static void firmware(void) {
  struct host h;
  host_open(&h, "fr=OLD\n");
  host_start(&h, 32);
  const uint8_t *p = h.page.at;
  CHECK_EQUAL(commit(&h, 2, 1), 0x4107); /* nothing was downloaded */
  memcpy(h.page.at, "NEW-0001", 8);
  CHECK_EQUAL(download(&h, 4096, 2048), 0x4002); /* FWUG */
  CHECK_EQUAL(download(&h, 4096, 0), 0);
  CHECK_EQUAL(download(&h, 4096, 4096), 0);
  CHECK_EQUAL(download(&h, 4096, 4096), 0x4114);
  CHECK_EQUAL(commit(&h, 4, 1), 0x4106);
  CHECK_EQUAL(commit(&h, 2, 1), 0);
  CHECK_EQUAL(get_log(&h, 3, 0, 512, 0, 0), 0);
  CHECK_EQUAL(p[0], 0x21); /* slot 1 runs, slot 2 is next */
  CHECK(memcmp(p + 8, "OLD     ", 8) == 0 && memcmp(p + 16, "NEW-0001", 8) == 0 && get64(p + 24) == 0);
  CHECK_EQUAL(identify(&h, 1, 0, 0), 0);
  CHECK(memcmp(p + 64, "OLD     ", 8) == 0);
  host_restart(&h);
  CHECK_EQUAL(identify(&h, 1, 0, 0), 0);
  CHECK(memcmp(p + 64, "NEW-0001", 8) == 0);
  memset(h.page.at, 0x80, 8);
  CHECK_EQUAL(download(&h, 4096, 0), 0);
  CHECK_EQUAL(commit(&h, 3, 3), 0x4107); /* no revision in it */
  memcpy(h.page.at, "NOW     ", 8);
  CHECK_EQUAL(download(&h, 4096, 0), 0);
  CHECK_EQUAL(commit(&h, 3, 3), 0); /* at once */
  CHECK_EQUAL(get_log(&h, 3, 0, 512, 0, 0), 0);
  CHECK_EQUAL(p[0], 3);
  CHECK_EQUAL(commit(&h, 1, 2), 0);
  host_restart(&h);
  CHECK_EQUAL(identify(&h, 1, 0, 0), 0);
  CHECK(memcmp(p + 64, "OLD     ", 8) == 0);
  host_close(&h);
}

static void manage_namespaces(void) {
  struct host h;
  host_open(&h, "namespaces=1\nsize=8MiB\ncapacity=16MiB\nnn=3\n");
  host_start(&h, 32);
  h.cid = 100;
  struct queue q;
  host_create(&h, &q, 1, 16, -1);
  uint8_t *p = h.page.at;
  put_event_request(&h, 1);
  CHECK_EQUAL(set_feature(&h, 0x0b, 0, 1u << 8).status, 0);
  CHECK_EQUAL(identify(&h, 1, 0, 0), 0);
  CHECK_EQUAL(get64(p + 280), 16u << 20);
  CHECK_EQUAL(get64(p + 296), 8u << 20);

  struct cmd create = command(0x0d, 0, 0, 0, 0);
  set_prps(&create, h.page.address, 0);
  memset(p, 0, 4096);
  CHECK_EQUAL(host_admin(&h, create).status, 0x4002); /* no size */
  put64(p, 1024);
  put64(p + 8, 512);
  CHECK_EQUAL(host_admin(&h, create).status, 0x411b); /* thin */
  put64(p, 5000);
  put64(p + 8, 5000);
  p[26] = 4; /* 4096 */
  CHECK_EQUAL(host_admin(&h, create).status, 0x4115);
  p[26] = 9;
  CHECK_EQUAL(host_admin(&h, create).status, 0x410a);
  p[26] = 0;
  p[29] = 1;
  CHECK_EQUAL(host_admin(&h, create).status, 0x410a); /* protection without metadata */
  p[29] = 0;
  struct done done = host_admin(&h, create);
  CHECK_EQUAL(done.status, 0);
  CHECK_EQUAL(done.dw0, 2);

  /* Allocated, and active only once it is attached. */
  struct cmd read = command(0x02, 2, 0, 0, 0);
  set_prps(&read, h.page.address, 0);
  CHECK_EQUAL(host_run(&h, &q, read).status, 0x4002);
  CHECK_EQUAL(identify(&h, 0, 2, 0), 0);
  CHECK_EQUAL(get64(p), 0);
  CHECK_EQUAL(identify(&h, 0x11, 2, 0), 0);
  CHECK_EQUAL(get64(p), 5000);
  CHECK_EQUAL(identify(&h, 2, 0, 0), 0);
  CHECK_EQUAL(get32(p + 4), 0);
  CHECK_EQUAL(identify(&h, 0x10, 0, 0), 0);
  CHECK_EQUAL(get32(p + 4), 2);
  struct cmd attach = command(0x15, 2, 0, 0, 0), detach = command(0x15, 2, 1, 0, 0);
  memset(p, 0, 4096);
  CHECK_EQUAL(host_admin_page(&h, attach), 0x411c);
  put32(p, 0x00010001);
  CHECK_EQUAL(host_admin_page(&h, detach), 0x411a);
  CHECK_EQUAL(host_admin_page(&h, attach), 0);
  done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 1);
  CHECK_EQUAL(done.dw0, 0x040002); /* notice, namespace attributes changed, log 4 */
  CHECK_EQUAL(host_admin_page(&h, attach), 0x4118);
  CHECK_EQUAL(get_log(&h, 4, 0, 4096, 0, 0), 0);
  CHECK_EQUAL(get32(p), 2);
  CHECK_EQUAL(get32(p + 4), 0);
  CHECK_EQUAL(get_log(&h, 4, 0, 4096, 0, 0), 0);
  CHECK_EQUAL(get32(p), 0); /* reading has cleared it */
  CHECK_EQUAL(host_run(&h, &q, read).status, 0);

  CHECK_EQUAL(host_admin(&h, command(0x0d, 3, 1, 0, 0)).status, 0x4002);
  CHECK_EQUAL(host_admin(&h, command(0x0d, 9, 1, 0, 0)).status, 0x400b);
  CHECK_EQUAL(host_admin(&h, command(0x0d, 2, 1, 0, 0)).status, 0);
  CHECK_EQUAL(host_run(&h, &q, read).status, 0x4002);
  CHECK_EQUAL(host_admin(&h, command(0x0d, 0xffffffff, 1, 0, 0)).status, 0);
  CHECK_EQUAL(identify(&h, 0x10, 0, 0), 0);
  CHECK_EQUAL(get32(p), 0);
  for (int i = 0; i < 4; i++) {
    memset(p, 0, 4096);
    put64(p, 8);
    put64(p + 8, 8);
    CHECK_EQUAL(host_admin(&h, create).status, i < 3 ? 0 : 0x4116);
  }
  host_close(&h);
}

static void fill(struct host *h, struct queue *q, uint8_t value) {
  memset(h->page.at, value, 4096);
  struct cmd write = command(0x01, 1, 0, 0, 7);
  set_prps(&write, h->page.address, 0);
  CHECK_EQUAL(host_run(h, q, write).status, 0);
}

static uint16_t read_byte(struct host *h, struct queue *q, uint8_t *value) {
  memset(h->page.at, 0xee, 512);
  struct cmd read = command(0x02, 1, 0, 0, 0);
  set_prps(&read, h->page.address, 0);
  const uint16_t status = host_run(h, q, read).status;
  *value = h->page.at[0];
  return status;
}

static void format(void) {
  struct host h;
  host_open(&h, "size=8MiB\nformat_ms=60\n");
  host_start(&h, 32);
  struct queue q;
  host_create(&h, &q, 1, 16, -1);
  uint8_t byte;
  fill(&h, &q, 0x77);
  CHECK_EQUAL(host_admin(&h, command(0x80, 1, 8, 0, 0)).status, 0x410a);
  CHECK_EQUAL(host_admin(&h, command(0x80, 1, 1u << 5, 0, 0)).status, 0x410a); /* protection without metadata */
  CHECK_EQUAL(host_admin(&h, command(0x80, 1, 3u << 9, 0, 0)).status, 0x4002);
  CHECK_EQUAL(host_admin(&h, command(0x80, 0, 0, 0, 0)).status, 0x400b);
  CHECK_EQUAL(host_admin(&h, command(0x80, 9, 0, 0, 0)).status, 0x4002);
  CHECK_EQUAL(read_byte(&h, &q, &byte), 0);
  CHECK_EQUAL(byte, 0x77);
  struct cmd c = command(0x80, 1, 5 | 1u << 4 | 2u << 5, 0, 0); /* 4096 + 8, at the end of data, protection type 2 */
  c.d[0] |= 900u << 16;
  host_put(&h.admin, &c);
  host_ring(&h, &h.admin);
  while (read_byte(&h, &q, &byte) == 0) continue;
  CHECK_EQUAL(read_byte(&h, &q, &byte), 0x0084); /* format in progress */
  CHECK_EQUAL(identify(&h, 0, 1, 0), 0);
  CHECK(h.page.at[32] > 0x80); /* FPI: percent left */
  const struct done done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 900 && done.status == 0);
  CHECK_EQUAL(identify(&h, 0, 1, 0), 0);
  CHECK_EQUAL(get64(h.page.at), 2048);
  CHECK_EQUAL(h.page.at[26], 0x15);
  CHECK_EQUAL(h.page.at[29], 2);
  CHECK_EQUAL(h.page.at[32], 0x80);
  CHECK_EQUAL(host_admin(&h, command(0x80, 0xffffffff, 0, 0, 0)).status, 0);
  CHECK_EQUAL(read_byte(&h, &q, &byte), 0);
  CHECK_EQUAL(byte, 0);
  host_close(&h);
}

static void sanitize(void) {
  struct host h;
  host_open(&h, "size=1MiB\nnamespaces=1;2\nsanitize_ms=60\n");
  host_start(&h, 32);
  struct queue q;
  host_create(&h, &q, 1, 16, -1);
  uint8_t byte;
  fill(&h, &q, 0x77);
  CHECK_EQUAL(get_log(&h, 0x81, 0, 512, 0, 0), 0);
  CHECK_EQUAL(get16(h.page.at), 0xffff);
  CHECK_EQUAL(get16(h.page.at + 2), 0); /* never */
  CHECK_EQUAL(host_admin(&h, command(0x84, 0, 0, 0, 0)).status, 0x4002);
  CHECK_EQUAL(host_admin(&h, command(0x84, 0, 5, 0, 0)).status, 0x4002);
  put_event_request(&h, 999);
  CHECK_EQUAL(host_admin(&h, command(0x84, 0, 2, 0, 0)).status, 0); /* block erase */
  CHECK_EQUAL(read_byte(&h, &q, &byte), 0x001d);
  CHECK_EQUAL(host_admin(&h, command(0x84, 0, 2, 0, 0)).status, 0x001d);
  CHECK_EQUAL(host_admin(&h, command(0x80, 1, 0, 0, 0)).status, 0x001d);
  CHECK_EQUAL(get_log(&h, 0x81, 0, 512, 0, 0), 0);
  CHECK(get16(h.page.at) < 0xffff);
  CHECK_EQUAL(get16(h.page.at + 2) & 7, 2);
  CHECK_EQUAL(get32(h.page.at + 4), 2);
  struct done done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 999);
  CHECK_EQUAL(done.dw0, 0x810106);
  CHECK_EQUAL(get_log(&h, 0x81, 0, 512, 0, 0), 0);
  CHECK_EQUAL(get16(h.page.at + 2), 0x101);
  CHECK_EQUAL(get16(h.page.at), 0xffff);
  CHECK_EQUAL(read_byte(&h, &q, &byte), 0);
  CHECK_EQUAL(byte, 0);

  /* Overwriting without deallocation leaves the pattern. */
  put_event_request(&h, 999);
  CHECK_EQUAL(host_admin(&h, command(0x84, 0, 3 | 1u << 4 | 1u << 9, 0xa5a5a5a5, 0)).status, 0);
  done = host_take(&h, &h.admin, 5000);
  CHECK(done.came && done.cid == 999);
  CHECK_EQUAL(read_byte(&h, &q, &byte), 0);
  CHECK_EQUAL(byte, 0xa5);

  /* One that fails keeps data out of reach until another succeeds. */
  CHECK_EQUAL(get_log(&h, 0x81, 0, 512, 0, 0), 0);
  host_fault(&h, "sanitize=1");
  put_event_request(&h, 999);
  CHECK_EQUAL(host_admin(&h, command(0x84, 0, 4, 0, 0)).status, 0);
  CHECK(host_take(&h, &h.admin, 5000).came);
  CHECK_EQUAL(get_log(&h, 0x81, 0, 512, 0, 0), 0);
  CHECK_EQUAL(get16(h.page.at + 2) & 7, 3);
  CHECK_EQUAL(read_byte(&h, &q, &byte), 0x401c);
  CHECK_EQUAL(host_admin(&h, command(0x84, 0, 1, 0, 0)).status, 0x401c); /* restricted: there is no way around it */
  put_event_request(&h, 999);
  CHECK_EQUAL(host_admin(&h, command(0x84, 0, 4, 0, 0)).status, 0);
  CHECK(host_take(&h, &h.admin, 5000).came);
  CHECK_EQUAL(read_byte(&h, &q, &byte), 0);
  CHECK_EQUAL(byte, 0);
  host_close(&h);
}

/* ---- interrupts -------------------------------------------------------------------------------------------------- */

static uint64_t take_interrupts(int fd, int limit_ms) {
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  uint64_t count = 0;
  if (poll(&wait, 1, limit_ms) == 1 && read(fd, &count, sizeof count) != (ssize_t)sizeof count) count = 0;
  return count;
}

static void interrupts(void) {
  struct host h;
  host_open(&h, "vectors=4\n");
  void *config;
  CHECK_EQUAL(bb_soft_config(h.device, &config), 0);
  const uint8_t *msix = (const uint8_t *)config + 0x50;
  CHECK_EQUAL(get16(msix + 2), 3); /* four vectors, off */
  const uint32_t table = get32(msix + 4), pending = get32(msix + 8);
  CHECK_EQUAL(host_load32(&h, table + 16 + 12), 1); /* masked */
  CHECK(bb_soft_interrupt_fd(h.device, 4) < 0);
  const int admin = bb_soft_interrupt_fd(h.device, 0), io = bb_soft_interrupt_fd(h.device, 3);
  CHECK(admin >= 0 && io >= 0 && bb_soft_interrupt_fd(h.device, 3) == io);
  host_start(&h, 32);
  struct queue q;
  host_create(&h, &q, 1, 16, 3);
  CHECK(take_interrupts(admin, 1000) >= 1);
  CHECK_EQUAL(take_interrupts(io, 0), 0);
  struct cmd flush = command(0x00, 1, 0, 0, 0);
  CHECK_EQUAL(host_run(&h, &q, flush).status, 0);
  CHECK_EQUAL(take_interrupts(io, 1000), 1);

  /* Masked in the table: pending, and delivered when it is unmasked. */
  host_store32(&h, table + 3 * 16 + 12, 1);
  CHECK_EQUAL(host_run(&h, &q, flush).status, 0);
  for (int i = 0; host_load32(&h, pending) != 8 && i < 1000; i++) rest_ms(1);
  CHECK_EQUAL(host_load32(&h, pending), 8);
  CHECK_EQUAL(take_interrupts(io, 0), 0);
  host_store32(&h, table + 3 * 16 + 12, 0);
  CHECK_EQUAL(take_interrupts(io, 1000), 1);
  for (int i = 0; host_load32(&h, pending) != 0 && i < 1000; i++) rest_ms(1);
  CHECK_EQUAL(host_load32(&h, pending), 0);

  /* A lost interrupt. */
  host_fault(&h, "no_interrupt,times=1");
  CHECK_EQUAL(host_run(&h, &q, flush).status, 0);
  CHECK_EQUAL(take_interrupts(io, 20), 0);

  /* Coalescing: three completions, or 20 ms. */
  CHECK_EQUAL(set_feature(&h, 8, 0, 200u << 8 | 2).status, 0);
  CHECK_EQUAL(host_run(&h, &q, flush).status, 0);
  CHECK_EQUAL(host_run(&h, &q, flush).status, 0);
  CHECK_EQUAL(take_interrupts(io, 2), 0);
  CHECK_EQUAL(host_run(&h, &q, flush).status, 0);
  CHECK_EQUAL(take_interrupts(io, 10), 1);
  CHECK_EQUAL(host_run(&h, &q, flush).status, 0);
  CHECK_EQUAL(take_interrupts(io, 1000), 1);
  CHECK_EQUAL(set_feature(&h, 9, 0, 1u << 16 | 3).status, 0); /* not for this vector */
  CHECK_EQUAL(host_run(&h, &q, flush).status, 0);
  CHECK_EQUAL(take_interrupts(io, 10), 1);
  host_close(&h);
}

int main(void) {
  identify_controller();
  identify_namespaces();
  queue_errors();
  unknown_commands();
  abort_commands();
  features();
  keep_alive();
  logs();
  events();
  self_test();
  firmware();
  manage_namespaces();
  format();
  sanitize();
  interrupts();
  puts("ok");
  return 0;
}
