; The native side of pool.py.
;
; A job's words: 0 the function, 1 the number of tasks, 2 the address of their arguments; in cache
; lines of their own: 8 the next task.

define internal void @pause() alwaysinline {
  @pause@
  ret void
}

define internal void @work(ptr %job) {
start:
  %function = load ptr, ptr %job
  %count.at = getelementptr i64, ptr %job, i64 1
  %count = load i64, ptr %count.at
  %arguments.at = getelementptr i64, ptr %job, i64 2
  %arguments = load ptr, ptr %arguments.at
  %next = getelementptr i64, ptr %job, i64 8
  br label %take
take:
  %k = atomicrmw add ptr %next, i64 1 seq_cst
  %there = icmp slt i64 %k, %count
  br i1 %there, label %run, label %end
run:
  %argument.at = getelementptr ptr, ptr %arguments, i64 %k
  %argument = load ptr, ptr %argument.at
  call void %function(ptr %argument)
  br label %take
end:
  ret void
}

; Works for a mailbox until no job has come for so many rounds; it is ASLEEP then.
define void @serve(ptr %mail, i64 %rounds) {
start:
  br label %look
look:
  %n = phi i64 [ 0, %start ], [ 0, %again ], [ %later, %none ]
  %job = load atomic i64, ptr %mail acquire, align 8
  %free = icmp eq i64 %job, 0
  br i1 %free, label %none, label %take
none:
  call void @pause()
  %later = add i64 %n, 1
  %patient = icmp slt i64 %later, %rounds
  br i1 %patient, label %look, label %doze
doze:
  %slept = cmpxchg ptr %mail, i64 0, i64 1 seq_cst seq_cst
  %asleep = extractvalue { i64, i1 } %slept, 1
  br i1 %asleep, label %end, label %again
take:
  %begun = cmpxchg ptr %mail, i64 %job, i64 2 seq_cst seq_cst
  %ok = extractvalue { i64, i1 } %begun, 1
  br i1 %ok, label %begin, label %again
begin:
  %address = inttoptr i64 %job to ptr
  call void @work(ptr %address)
  store atomic i64 0, ptr %mail release, align 8
  br label %again
again:
  br label %look
end:
  ret void
}

; Has a job done with the help of those of some mailboxes that are FREE, and returns when no helper
; is at it any more. `yield` lets other threads have the core.
define void @run(ptr %job, ptr %mails, i64 %helpers, ptr %yield) {
start:
  %number = ptrtoint ptr %job to i64
  %next = getelementptr i64, ptr %job, i64 8
  store atomic i64 0, ptr %next release, align 8
  br label %post
post:
  %p = phi i64 [ 0, %start ], [ %p.next, %posting ]
  %p.more = icmp slt i64 %p, %helpers
  br i1 %p.more, label %posting, label %own
posting:
  %p.at = getelementptr ptr, ptr %mails, i64 %p
  %p.mail = load ptr, ptr %p.at
  %p.done = cmpxchg ptr %p.mail, i64 0, i64 %number seq_cst seq_cst
  %p.next = add i64 %p, 1
  br label %post
own:
  call void @work(ptr %job)
  br label %leave
leave:
  %q = phi i64 [ 0, %own ], [ %q.next, %left ]
  %q.more = icmp slt i64 %q, %helpers
  br i1 %q.more, label %leaving, label %end
leaving:
  %q.at = getelementptr ptr, ptr %mails, i64 %q
  %q.mail = load ptr, ptr %q.at
  %q.done = cmpxchg ptr %q.mail, i64 %number, i64 0 seq_cst seq_cst
  br label %wait
wait:
  %n = phi i64 [ 0, %leaving ], [ %later, %spin ], [ %later, %lend ]
  %state = load atomic i64, ptr %q.mail acquire, align 8
  %busy = icmp eq i64 %state, 2
  br i1 %busy, label %waiting, label %left
waiting:
  %later = add i64 %n, 1
  %patient = icmp slt i64 %later, 4096
  br i1 %patient, label %spin, label %lend
spin:
  call void @pause()
  br label %wait
lend:
  %ignored = call i32 %yield()
  br label %wait
left:
  %q.next = add i64 %q, 1
  br label %leave
end:
  ret void
}
