/* The facts of the NVMe specifications that the software controller is built on: what lies in memory, and numbers. Sections
 * are those of NVMe Base 2.0, NVM Command Set 1.0 ("NVM") and Zoned Namespace Command Set 1.1 ("ZNS"). */
#ifndef BUSBAR_SOFT_NVME_SPEC_H
#define BUSBAR_SOFT_NVME_SPEC_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "structures are laid over memory as they are");

/* Controller registers, §3.1.3. */
enum {
  REG_CAP = 0x00,
  REG_VS = 0x08,
  REG_INTMS = 0x0c,
  REG_INTMC = 0x10,
  REG_CC = 0x14,
  REG_CSTS = 0x1c,
  REG_NSSR = 0x20,
  REG_AQA = 0x24,
  REG_ASQ = 0x28,
  REG_ACQ = 0x30,
  REG_CMBLOC = 0x38,
  REG_CMBSZ = 0x3c,
  REG_CMBMSC = 0x50,
  REG_CMBSTS = 0x58,
  REG_CRTO = 0x68,
  DOORBELLS = 0x1000,
};

enum {
  CSTS_RDY = 1,
  CSTS_CFS = 2,
  CSTS_SHST_BUSY = 1 << 2,
  CSTS_SHST_DONE = 2 << 2,
  CSTS_SHST = 3 << 2,
  CSTS_NSSRO = 16,
};

/* Submission queue entry, §3.3.3.1. */
struct sqe {
  uint8_t opcode;
  uint8_t flags; /* FUSE 1:0, PSDT 7:6 */
  uint16_t cid;
  uint32_t nsid;
  uint32_t cdw2, cdw3;
  uint64_t mptr;
  uint64_t prp1, prp2; /* DPTR, or one SGL descriptor */
  uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct sqe) == 64, "SQE");

/* Completion queue entry, §3.3.3.2. */
struct cqe {
  uint32_t dw0, dw1;
  uint16_t sqhd, sqid;
  uint16_t cid;
  uint16_t status; /* phase 0, then the status field */
};
_Static_assert(sizeof(struct cqe) == 16, "CQE");

/*
 * Status fields as they stand in a completion without the phase bit: SC 7:0, SCT 10:8, DNR 14 (§3.3.3.2.1). Do Not Retry
 * is part of the names here, because a kind of error either always or never passes by itself.
 */
enum {
  SC_OK = 0,
  SC_DNR = 0x4000,
  SC_INVALID_OPCODE = 0x4001,
  SC_INVALID_FIELD = 0x4002,
  SC_CID_CONFLICT = 0x4003,
  SC_DATA_TRANSFER = 0x4004,
  SC_INTERNAL = 0x0006,
  SC_ABORTED = 0x0007,
  SC_SQ_DELETED = 0x0008,
  SC_INVALID_NAMESPACE = 0x400b,
  SC_SEQUENCE = 0x400c,
  SC_SGL_SEGMENT = 0x400d,
  SC_SGL_COUNT = 0x400e,
  SC_SGL_DATA_LENGTH = 0x400f,
  SC_SGL_METADATA_LENGTH = 0x4010,
  SC_SGL_TYPE = 0x4011,
  SC_INVALID_CMB_USE = 0x4012,
  SC_PRP_OFFSET = 0x4013,
  SC_SANITIZE_FAILED = 0x401c,
  SC_SANITIZE_IN_PROGRESS = 0x001d,
  SC_SGL_GRANULARITY = 0x401e,
  SC_WRITE_PROTECTED = 0x4020,
  SC_LBA_RANGE = 0x4080,
  SC_CAPACITY = 0x4081,
  SC_NOT_READY = 0x0082,
  SC_FORMAT_IN_PROGRESS = 0x0084,
  SC_INVALID_CQ = 0x4100,
  SC_INVALID_QID = 0x4101,
  SC_INVALID_QUEUE_SIZE = 0x4102,
  SC_ABORT_LIMIT = 0x0103,
  SC_AER_LIMIT = 0x0105,
  SC_FIRMWARE_SLOT = 0x4106,
  SC_FIRMWARE_IMAGE = 0x4107,
  SC_INVALID_VECTOR = 0x4108,
  SC_INVALID_LOG = 0x4109,
  SC_INVALID_FORMAT = 0x410a,
  SC_FIRMWARE_NEEDS_RESET = 0x0110, /* success in all but name: the image waits for a reset */
  SC_QUEUE_DELETION = 0x010c,
  SC_NOT_SAVEABLE = 0x410d,
  SC_NOT_CHANGEABLE = 0x410e,
  SC_NOT_NAMESPACE_SPECIFIC = 0x410f,
  SC_OVERLAPPING_RANGE = 0x4114,
  SC_NAMESPACE_CAPACITY = 0x4115,
  SC_NSID_UNAVAILABLE = 0x4116,
  SC_ALREADY_ATTACHED = 0x4118,
  SC_PRIVATE = 0x4119,
  SC_NOT_ATTACHED = 0x411a,
  SC_THIN_PROVISIONING = 0x411b,
  SC_CONTROLLER_LIST = 0x411c,
  SC_SELF_TEST_BUSY = 0x411d,
  SC_ANA_GROUP = 0x4124,
  SC_COMMAND_SET = 0x4129,
  SC_CONFLICTING_ATTRIBUTES = 0x4180,
  SC_INVALID_PI = 0x4181,
  SC_READ_ONLY_RANGE = 0x4182,
  SC_SIZE_LIMIT = 0x4183,
  SC_ZONE_BOUNDARY = 0x41b8,
  SC_ZONE_FULL = 0x41b9,
  SC_ZONE_READ_ONLY = 0x41ba,
  SC_ZONE_OFFLINE = 0x41bb,
  SC_ZONE_INVALID_WRITE = 0x41bc,
  SC_TOO_MANY_ACTIVE = 0x41bd,
  SC_TOO_MANY_OPEN = 0x41be,
  SC_ZONE_TRANSITION = 0x41bf,
  SC_WRITE_FAULT = 0x0280,
  SC_UNRECOVERED_READ = 0x0281,
  SC_GUARD = 0x0282,
  SC_APP_TAG = 0x0283,
  SC_REF_TAG = 0x0284,
  SC_COMPARE = 0x0285,
  SC_DEALLOCATED = 0x0287,
  SC_ANA_PERSISTENT_LOSS = 0x0301,
  SC_ANA_INACCESSIBLE = 0x0302,
  SC_ANA_CHANGE = 0x0303,
  /* Not statuses, but what a handler returns whose command does not end now. */
  SC_LATER = 0xffff, /* it goes on at due_ns: see nvme_defer */
  SC_HELD = 0xfffe,  /* somebody else has it, and will complete it */
};

/* Every namespace: more than an enumerator holds. */
#define NSID_ALL UINT32_C(0xffffffff)
enum { CSI_NVM = 0, CSI_ZONED = 2 };

/* Opcodes that more than their own file knows. */
enum { OPCODE_ABORT = 0x08, OPCODE_EVENT_REQUEST = 0x0c };

/* Log pages that events point to, and others (§5.16.1). */
enum {
  LOG_ERROR = 0x01,
  LOG_HEALTH = 0x02,
  LOG_FIRMWARE = 0x03,
  LOG_CHANGED_NAMESPACES = 0x04,
  LOG_TELEMETRY_HOST = 0x07,
  LOG_TELEMETRY = 0x08,
  LOG_ANA = 0x0c,
  LOG_SANITIZE = 0x81,
  LOG_CHANGED_ZONES = 0xbf,
};

/* Kinds of asynchronous event and their information, §5.2. */
enum { EVENT_ERROR = 0, EVENT_HEALTH = 1, EVENT_NOTICE = 2, EVENT_IO = 6, EVENT_TYPES = 8 };
enum {
  EVENT_INFO_DOORBELL_REGISTER = 0x00, /* of EVENT_ERROR */
  EVENT_INFO_DOORBELL_VALUE = 0x01,
  EVENT_INFO_RELIABILITY = 0x00, /* of EVENT_HEALTH */
  EVENT_INFO_TEMPERATURE = 0x01,
  EVENT_INFO_SPARE = 0x02,
  EVENT_INFO_NAMESPACE = 0x00, /* of EVENT_NOTICE */
  EVENT_INFO_FIRMWARE = 0x01,
  EVENT_INFO_TELEMETRY = 0x02,
  EVENT_INFO_ANA = 0x03,
  EVENT_INFO_ZONE_CHANGED = 0xef,
  EVENT_INFO_SANITIZED = 0x01, /* of EVENT_IO */
};

/* Features that other files look at. */
enum {
  FEATURE_ARBITRATION = 0x01,
  FEATURE_QUEUES = 0x07,
  FEATURE_COALESCING = 0x08,
  FEATURE_EVENTS = 0x0b,
  FEATURE_KEEP_ALIVE = 0x0f,
};

/* States of asymmetric namespace access, §8.1.3. */
enum { ANA_OPTIMIZED = 1, ANA_NON_OPTIMIZED = 2, ANA_INACCESSIBLE = 3, ANA_PERSISTENT_LOSS = 4, ANA_CHANGE = 15 };

/* PRINFO, NVM §5.2.3. */
enum { PRINFO_CHECK_REF = 1, PRINFO_CHECK_APP = 2, PRINFO_CHECK_GUARD = 4, PRINFO_ACT = 8 };

enum zone_state {
  ZONE_EMPTY = 1,
  ZONE_IMPLICIT = 2,
  ZONE_EXPLICIT = 3,
  ZONE_CLOSED = 4,
  ZONE_READ_ONLY = 13,
  ZONE_FULL = 14,
  ZONE_OFFLINE = 15,
};

/* The Commands Supported and Effects log, §5.16.1.6. */
enum {
  EFFECTS_CSUPP = 1,         /* supported */
  EFFECTS_LBCC = 2,          /* changes blocks */
  EFFECTS_NCC = 4,           /* changes what a namespace can do */
  EFFECTS_NIC = 8,           /* changes which namespaces there are */
  EFFECTS_CCC = 16,          /* changes what the controller can do */
  EFFECTS_CSE_NS = 1 << 16,  /* no other command to the namespace meanwhile */
  EFFECTS_CSE_ALL = 2 << 16, /* no other command at all */
};

/* ---- little-endian fields of a page ------------------------------------------------------------------------------ */

static inline void put16(uint8_t *at, uint64_t value) {
  const uint16_t v = (uint16_t)value;
  __builtin_memcpy(at, &v, sizeof v);
}
static inline void put32(uint8_t *at, uint64_t value) {
  const uint32_t v = (uint32_t)value;
  __builtin_memcpy(at, &v, sizeof v);
}
static inline void put64(uint8_t *at, uint64_t value) { __builtin_memcpy(at, &value, sizeof value); }
static inline uint16_t get16(const uint8_t *at) {
  uint16_t v;
  __builtin_memcpy(&v, at, sizeof v);
  return v;
}
static inline uint32_t get32(const uint8_t *at) {
  uint32_t v;
  __builtin_memcpy(&v, at, sizeof v);
  return v;
}
static inline uint64_t get64(const uint8_t *at) {
  uint64_t v;
  __builtin_memcpy(&v, at, sizeof v);
  return v;
}

#endif
