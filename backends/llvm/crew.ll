; What crew.py describes, in native code.
;
; A crew's words: 0 how many threads have come, 1 whether the program is over, 2 the address of what
; lets other threads have the core, 3 the job, 4 the roster and 5 the function that has the job done;
; in cache lines of their own: 8 the ticket; 16 how many pieces are done; 24 the function of the
; pieces, 25 and on the frame, which holds its operands.
;
; A ticket is the number of an operation (32 bits), and from which piece (16) to before which (16)
; nobody has begun. Who changes it by compare-and-exchange has the piece; what was read of the crew
; before is of the same operation then, for none is over before its pieces are.

; Lets others have the core, after so many rounds of waiting.
define internal void @unfold.wait(ptr %crew, i64 %rounds) {
start:
  %patient = icmp slt i64 %rounds, 4096
  br i1 %patient, label %spin, label %lend
spin:
  @pause@
  ret void
lend:
  %yield.at = getelementptr i64, ptr %crew, i64 2
  %yield = load ptr, ptr %yield.at
  %ignored = call i32 %yield()
  ret void
}

; Has `count` pieces done, from the first one on; returns when all are. The frame is filled.
define internal void @unfold.share(ptr %crew, ptr %function, i64 %count) {
start:
  %ticket = getelementptr i64, ptr %crew, i64 8
  %done = getelementptr i64, ptr %crew, i64 16
  %function.at = getelementptr i64, ptr %crew, i64 24
  %frame = getelementptr i64, ptr %crew, i64 25
  %number = ptrtoint ptr %function to i64
  store atomic i64 %number, ptr %function.at monotonic, align 8
  store atomic i64 0, ptr %done monotonic, align 8
  %old = load atomic i64, ptr %ticket monotonic, align 8
  %operation = lshr i64 %old, 32
  %following = add i64 %operation, 1
  %high = shl i64 %following, 32
  %new = or i64 %high, %count
  store atomic i64 %new, ptr %ticket release, align 8
  br label %take
take:
  %t = load atomic i64, ptr %ticket monotonic, align 8
  %end = and i64 %t, 65535
  %shifted = lshr i64 %t, 16
  %first = and i64 %shifted, 65535
  %there = icmp ult i64 %first, %end
  br i1 %there, label %claim, label %join
claim:
  %less = add i64 %t, 65536
  %claimed = cmpxchg ptr %ticket, i64 %t, i64 %less seq_cst seq_cst
  %mine = extractvalue { i64, i1 } %claimed, 1
  br i1 %mine, label %run, label %take
run:
  call void %function(ptr %frame, i64 %first)
  %counted = atomicrmw add ptr %done, i64 1 seq_cst
  br label %take
join:
  %n = phi i64 [ 0, %take ], [ %later, %wait ]
  %finished = load atomic i64, ptr %done acquire, align 8
  %all = icmp eq i64 %finished, %count
  br i1 %all, label %end.of.it, label %wait
wait:
  call void @unfold.wait(ptr %crew, i64 %n)
  %later = add i64 %n, 1
  br label %join
end.of.it:
  ret void
}

; Takes pieces, from the last one on, until the program is over.
define internal void @unfold.assist(ptr %crew) {
start:
  %over.at = getelementptr i64, ptr %crew, i64 1
  %ticket = getelementptr i64, ptr %crew, i64 8
  %done = getelementptr i64, ptr %crew, i64 16
  %function.at = getelementptr i64, ptr %crew, i64 24
  %frame = getelementptr i64, ptr %crew, i64 25
  br label %look
look:
  %n = phi i64 [ 0, %start ], [ 0, %claim ], [ 0, %run ], [ %later, %wait ]
  %t = load atomic i64, ptr %ticket acquire, align 8
  %end = and i64 %t, 65535
  %shifted = lshr i64 %t, 16
  %first = and i64 %shifted, 65535
  %there = icmp ult i64 %first, %end
  br i1 %there, label %claim, label %idle
claim:
  %number = load atomic i64, ptr %function.at monotonic, align 8
  %less = sub i64 %t, 1
  %claimed = cmpxchg ptr %ticket, i64 %t, i64 %less seq_cst seq_cst
  %mine = extractvalue { i64, i1 } %claimed, 1
  br i1 %mine, label %run, label %look
run:
  %function = inttoptr i64 %number to ptr
  %last = sub i64 %end, 1
  call void %function(ptr %frame, i64 %last)
  %counted = atomicrmw add ptr %done, i64 1 seq_cst
  br label %look
idle:
  %over = load atomic i64, ptr %over.at acquire, align 8
  %ended = icmp ne i64 %over, 0
  br i1 %ended, label %end.of.it, label %wait
wait:
  call void @unfold.wait(ptr %crew, i64 %n)
  %later = add i64 %n, 1
  br label %look
end.of.it:
  ret void
}

; Has the program run by the crew.
define void @run(ptr %record) {
start:
  %crew.at = getelementptr i64, ptr %record, i64 @field@
  %crew = load ptr, ptr %crew.at
  %over = getelementptr i64, ptr %crew, i64 1
  %ticket = getelementptr i64, ptr %crew, i64 8
  %done = getelementptr i64, ptr %crew, i64 16
  store i64 0, ptr %crew
  store i64 0, ptr %over
  store i64 0, ptr %ticket
  store i64 0, ptr %done
  %job.at = getelementptr i64, ptr %crew, i64 3
  %roster.at = getelementptr i64, ptr %crew, i64 4
  %gather.at = getelementptr i64, ptr %crew, i64 5
  %job = load ptr, ptr %job.at
  %roster = load ptr, ptr %roster.at
  %gather = load ptr, ptr %gather.at
  call void %gather(ptr %job, ptr %roster)
  ret void
}

; What each thread does: the first to come runs the program, the others assist.
define void @join(ptr %record) {
start:
  %crew.at = getelementptr i64, ptr %record, i64 @field@
  %crew = load ptr, ptr %crew.at
  %before = atomicrmw add ptr %crew, i64 1 seq_cst
  %alone = icmp eq i64 %before, 0
  br i1 %alone, label %lead, label %help
lead:
  call void @program(ptr %record)
  %over.at = getelementptr i64, ptr %crew, i64 1
  store atomic i64 1, ptr %over.at release, align 8
  ret void
help:
  call void @unfold.assist(ptr %crew)
  ret void
}
