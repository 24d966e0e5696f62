/*
 * The coherency engine of the Type 2 GPU: 2 lines, 3 domains, all requests, in any order.
 *
 * The data of a line is abstracted to "is it the last value written": for each copy, and for memory. That is enough for the
 * invariant that a reader sees the last value written, and keeps the states few.
 */
#define LINES 2
#define DOMAINS 3
#define GPU 1

mtype = { S, E, M };

typedef Line {
  bool held[DOMAINS];
  bool fresh[DOMAINS]; /* the copy is the last value written */
  bool memory_fresh;
  mtype state;
  bool tracked
};
Line line[LINES];

/* Everything that must hold whenever no request is under way. */
inline check(l) {
  count = 0;
  for (i : 0 .. DOMAINS - 1) {
    if
    :: line[l].held[i] -> count++; assert(line[l].fresh[i])
    :: else
    fi
  }
  assert(line[l].tracked == (count > 0));
  assert(!line[l].tracked || line[l].state == S || count == 1);
  assert((line[l].tracked && line[l].state == M) || line[l].memory_fresh)
}

inline write_back(l) {
  if
  :: line[l].tracked && line[l].state == M -> line[l].memory_fresh = true
  :: else
  fi
}

inline invalidate_others(l, d) {
  for (i : 0 .. DOMAINS - 1) {
    if
    :: i != d -> line[l].held[i] = false; line[l].fresh[i] = false
    :: else
    fi
  }
}

inline take(l, d, next) {
  line[l].held[d] = true;
  line[l].fresh[d] = line[l].memory_fresh;
  line[l].state = next;
  line[l].tracked = true
}

inline drop(l, d) {
  write_back(l);
  line[l].held[d] = false;
  line[l].fresh[d] = false;
  line[l].state = S;
  line[l].tracked = false;
  for (i : 0 .. DOMAINS - 1) {
    if
    :: line[l].held[i] -> line[l].tracked = true
    :: else
    fi
  }
}

inline rd_shared(l, d) {
  if
  :: line[l].held[d]
  :: else -> write_back(l); take(l, d, S)
  fi
}

inline rd_own(l, d) {
  if
  :: line[l].held[d] && line[l].state == M
  :: else -> write_back(l); invalidate_others(l, d); take(l, d, E)
  fi
}

active proctype requests() {
  byte l, d, i, count;
  for (i : 0 .. LINES - 1) { line[i].memory_fresh = true; line[i].state = S }
  do
  :: atomic {
      select(l : 0 .. LINES - 1);
      select(d : 0 .. DOMAINS - 1);
      if
      :: true -> rd_shared(l, d)
      :: true -> rd_own(l, d)
      :: true -> if /* RD_ANY */
         :: line[l].tracked -> skip; rd_shared(l, d)
         :: else -> skip; rd_own(l, d)
         fi
      :: true -> /* WR_INV */
         if
         :: line[l].held[d] && line[l].state == M
         :: else -> write_back(l); invalidate_others(l, d); take(l, d, M)
         fi;
         line[l].fresh[d] = true;
         line[l].memory_fresh = false
      :: true -> /* WR_CUR: memory gets the data, and nobody holds the line */
         invalidate_others(l, d);
         line[l].held[d] = false;
         line[l].fresh[d] = false;
         line[l].tracked = false;
         line[l].state = S;
         line[l].memory_fresh = true
      :: true -> /* CLR_DEV_CACHE */
         if
         :: line[l].held[GPU] -> drop(l, GPU)
         :: else
         fi
      :: true -> /* CLEAN_EVICT and DIRTY_EVICT, and a victim of the filter one holder at a time */
         if
         :: line[l].held[d] -> drop(l, d)
         :: else
         fi
      fi;
      check(l);
      d = 0; i = 0; count = 0
    }
  od
}
