/*
 * The translation of a block: every access of memory becomes a record.
 *
 * Without the filter, translated code stores most records itself: the accesses between two exits of a block form a run,
 * whose records are written one behind the other, all constants but the addresses and the time of the first. With the
 * filter, an access outside the line of the one before it calls filter_access.
 */
#include "record.h"
#include "libvex_guest_amd64.h"

typedef struct {
   IRExpr *address;
   UInt op, bytes, ahead;
} Access;

typedef struct {
   IRSB *out;
   Access run[MAX_RUN];
   UInt run_length;
   UInt ahead; /* instructions begun since running.instructions was brought up to date */
} Block;

static IRExpr *u64(ULong value)
{
   return IRExpr_Const(IRConst_U64(value));
}

/* Puts an expression into a temporary, as flat code needs it. */
static IRExpr *temporary(Block *block, IRType type, IRExpr *expression)
{
   IRTemp temp = newIRTemp(block->out->tyenv, type);
   addStmtToIRSB(block->out, IRStmt_WrTmp(temp, expression));
   return IRExpr_RdTmp(temp);
}

static IRExpr *binary(Block *block, IROp op, IRExpr *left, IRExpr *right)
{
   return temporary(block, Ity_I64, IRExpr_Binop(op, left, right));
}

static IRExpr *compare(Block *block, IROp op, IRExpr *left, IRExpr *right)
{
   return temporary(block, Ity_I1, IRExpr_Binop(op, left, right));
}

static IRExpr *load(Block *block, const void *variable)
{
   return temporary(block, Ity_I64, IRExpr_Load(Iend_LE, Ity_I64, u64((ULong)(UWord)variable)));
}

static void store(Block *block, IRExpr *address, IRExpr *value)
{
   addStmtToIRSB(block->out, IRStmt_Store(Iend_LE, address, value));
}

static IRExpr *guest_register(Block *block, Int offset)
{
   return temporary(block, Ity_I64, IRExpr_Get(offset, Ity_I64));
}

static void call(Block *block, Int regparms, const HChar *name, void *function, IRExpr **args, IRExpr *guard)
{
   IRDirty *dirty = unsafeIRDirty_0_N(regparms, name, VG_(fnptr_to_fnentry)(function), args);
   if (guard != NULL)
      dirty->guard = guard;
   addStmtToIRSB(block->out, IRStmt_Dirty(dirty));
}

static IRExpr *either(Block *block, IRExpr *left, IRExpr *right)
{
   IRExpr *wide_left = temporary(block, Ity_I64, IRExpr_Unop(Iop_1Uto64, left));
   IRExpr *wide_right = temporary(block, Ity_I64, IRExpr_Unop(Iop_1Uto64, right));
   return compare(block, Iop_CmpNE64, binary(block, Iop_Or64, wide_left, wide_right), u64(0));
}

/* Stores the records of a run that began at instruction count `start`. */
static void store_run(Block *block, IRExpr *start)
{
   IRExpr *gap = binary(block, Iop_Sub64, start, load(block, &running.last));
   IRExpr *full = compare(block, Iop_CmpLE64U, load(block, &running.limit), load(block, &running.next));
   IRExpr *late = compare(block, Iop_CmpLE64U, u64(MAX_TICKS), gap);
   call(block, 0, "make_room", make_room, mkIRExprVec_0(), either(block, full, late));
   IRExpr *next = load(block, &running.next);
   gap = binary(block, Iop_Sub64, start, load(block, &running.last));
   UInt before = 0;
   for (UInt i = 0; i < block->run_length; i++) {
      const Access *access = &block->run[i];
      ULong rest = (access->ahead - before) | (ULong)access->op << 32 | (ULong)access->bytes << 48;
      IRExpr *at = i == 0 ? next : binary(block, Iop_Add64, next, u64(i * RECORD_BYTES));
      store(block, at, access->address);
      store(block, binary(block, Iop_Add64, next, u64(i * RECORD_BYTES + 8)),
            i == 0 ? binary(block, Iop_Add64, gap, u64(rest)) : u64(rest));
      before = access->ahead;
   }
   store(block, u64((UWord)&running.next), binary(block, Iop_Add64, next, u64(block->run_length * RECORD_BYTES)));
   store(block, u64((UWord)&running.last), binary(block, Iop_Add64, start, u64(before)));
   block->run_length = 0;
}

/* Ends a run: its records are stored, and running.instructions is right. */
static void end_run(Block *block)
{
   if (block->ahead == 0 && block->run_length == 0)
      return;
   IRExpr *start = load(block, &running.instructions);
   if (block->run_length > 0)
      store_run(block, start);
   if (block->ahead > 0)
      store(block, u64((UWord)&running.instructions), binary(block, Iop_Add64, start, u64(block->ahead)));
   block->ahead = 0;
}

/* True when bytes [address, address + bytes) are not all in the line at `line`. */
static IRExpr *leaves_line(Block *block, IRExpr *address, UInt bytes, IRExpr *line)
{
   IRExpr *distance = binary(block, Iop_Xor64, address, line);
   if (bytes > 1) {
      IRExpr *last = binary(block, Iop_Add64, address, u64(bytes - 1));
      distance = binary(block, Iop_Or64, distance, binary(block, Iop_Xor64, last, line));
   }
   return compare(block, Iop_CmpLE64U, u64(LINE_BYTES), distance);
}

/* An access that always happens. */
static void access_memory(Block *block, UInt op, IRExpr *address, UInt bytes)
{
   if (!options.filter) {
      if (block->run_length == MAX_RUN)
         end_run(block);
      block->run[block->run_length++] =
         (Access){.address = address, .op = op, .bytes = bytes, .ahead = block->ahead};
      return;
   }
   IRExpr *line = load(block, op == OP_WRITE ? &running.last_dirty_line : &running.last_line);
   call(block, 2, "filter_access", filter_access, mkIRExprVec_2(address, u64(PACK(op, bytes, block->ahead))),
        leaves_line(block, address, bytes, line));
}

/* An access that happens when `guard` holds. */
static void access_if(Block *block, UInt op, IRExpr *address, UInt bytes, IRExpr *guard)
{
   end_run(block);
   call(block, 2, "access", options.filter ? (void *)filter_access : (void *)record_one,
        mkIRExprVec_2(address, u64(PACK(op, bytes, 0))), guard);
}

static void access_value(Block *block, UInt op, IRExpr *address, IRExpr *value)
{
   access_memory(block, op, address, (UInt)sizeofIRType(typeOfIRExpr(block->out->tyenv, value)));
}

static UInt guarded_load_bytes(const IRLoadG *guarded)
{
   IRType result = Ity_INVALID, loaded = Ity_INVALID;
   typeOfIRLoadGOp(guarded->cvt, &result, &loaded);
   return (UInt)sizeofIRType(loaded);
}

/* A helper of valgrind's that touches memory: saving of vector state, instructions that are not translated. */
static void access_helper(Block *block, const IRDirty *dirty)
{
   if (dirty->mFx == Ifx_None)
      return;
   const Bool always = dirty->guard->tag == Iex_Const && dirty->guard->Iex.Const.con->Ico.U1;
   const UInt bytes = (UInt)dirty->mSize;
   for (UInt op = OP_READ; op <= OP_WRITE; op++) {
      if (dirty->mFx == (op == OP_READ ? Ifx_Write : Ifx_Read))
         continue;
      if (always)
         access_memory(block, op, dirty->mAddr, bytes);
      else
         access_if(block, op, dirty->mAddr, bytes, dirty->guard);
   }
}

/* Accesses of one statement, which itself comes behind them. */
static void instrument_statement(Block *block, IRStmt *statement)
{
   IRTypeEnv *types = block->out->tyenv;
   switch (statement->tag) {
   case Ist_IMark:
      block->ahead++;
      if (block->ahead == 0xff)
         end_run(block);
      break;
   case Ist_WrTmp: {
      const IRExpr *data = statement->Ist.WrTmp.data;
      if (data->tag == Iex_Load)
         access_memory(block, OP_READ, data->Iex.Load.addr, (UInt)sizeofIRType(data->Iex.Load.ty));
      break;
   }
   case Ist_Store:
      access_value(block, OP_WRITE, statement->Ist.Store.addr, statement->Ist.Store.data);
      break;
   case Ist_LoadG: {
      const IRLoadG *guarded = statement->Ist.LoadG.details;
      access_if(block, OP_READ, guarded->addr, guarded_load_bytes(guarded), guarded->guard);
      break;
   }
   case Ist_StoreG: {
      const IRStoreG *guarded = statement->Ist.StoreG.details;
      access_if(block, OP_WRITE, guarded->addr, (UInt)sizeofIRType(typeOfIRExpr(types, guarded->data)),
                guarded->guard);
      break;
   }
   case Ist_CAS: {
      /* Read and written, also when the comparison fails: the line is fetched to be written either way. */
      const IRCAS *cas = statement->Ist.CAS.details;
      UInt bytes = (UInt)sizeofIRType(typeOfIRExpr(types, cas->dataLo)) * (cas->dataHi == NULL ? 1 : 2);
      access_memory(block, OP_READ, cas->addr, bytes);
      access_memory(block, OP_WRITE, cas->addr, bytes);
      break;
   }
   case Ist_LLSC: {
      IRExpr *stored = statement->Ist.LLSC.storedata;
      if (stored == NULL)
         access_memory(block, OP_READ, statement->Ist.LLSC.addr,
                       (UInt)sizeofIRType(typeOfIRTemp(types, statement->Ist.LLSC.result)));
      else
         access_value(block, OP_WRITE, statement->Ist.LLSC.addr, stored);
      break;
   }
   case Ist_Dirty:
      access_helper(block, statement->Ist.Dirty.details);
      break;
   case Ist_Exit:
      end_run(block);
      break;
   default:
      break;
   }
}

/* At the entry of an allocation function its arguments are in the guest's registers. */
static void enter_allocation(Block *block, AllocKind kind)
{
   IRExpr **args = mkIRExprVec_5(u64(kind), guest_register(block, offsetof(VexGuestAMD64State, guest_RDI)),
                                 guest_register(block, offsetof(VexGuestAMD64State, guest_RSI)),
                                 guest_register(block, offsetof(VexGuestAMD64State, guest_RDX)),
                                 guest_register(block, offsetof(VexGuestAMD64State, guest_RSP)));
   call(block, 0, "allocation_enter", allocation_enter, args, NULL);
}

static void leave_allocation(Block *block)
{
   IRExpr *stack = guest_register(block, offsetof(VexGuestAMD64State, guest_RSP));
   IRExpr *result = guest_register(block, offsetof(VexGuestAMD64State, guest_RAX));
   call(block, 1, "allocation_leave", allocation_leave, mkIRExprVec_1(result),
        compare(block, Iop_CmpEQ64, stack, load(block, &running.alloc_return_sp)));
}

IRSB *instrument(VgCallbackClosure *closure, IRSB *in, const VexGuestLayout *layout, const VexGuestExtents *extents,
                 const VexArchInfo *host, IRType guest_word, IRType host_word)
{
   static Block block; /* one block is translated at a time; too large for valgrind's stack */
   (void)layout, (void)extents, (void)host;
   if (guest_word != Ity_I64 || host_word != Ity_I64)
      VG_(tool_panic)("only 64-bit programs are recorded");
   block.out = deepCopyIRSBExceptStmts(in);
   block.run_length = 0;
   block.ahead = 0;
   Int i = 0;
   for (; i < in->stmts_used && in->stmts[i]->tag != Ist_IMark; i++)
      addStmtToIRSB(block.out, in->stmts[i]);
   AllocKind kind = options.allocations ? allocation_function(closure->nraddr) : ALLOC_NONE;
   if (kind != ALLOC_NONE)
      enter_allocation(&block, kind);
   for (; i < in->stmts_used; i++) {
      instrument_statement(&block, in->stmts[i]);
      addStmtToIRSB(block.out, in->stmts[i]);
   }
   end_run(&block);
   if (options.allocations && in->jumpkind == Ijk_Ret)
      leave_allocation(&block);
   return block.out;
}
