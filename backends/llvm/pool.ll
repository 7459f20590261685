; The native side of pool.py.
;
; A job's words: 0 the function, 1 the number of tasks, 2 the address of their arguments; in cache
; lines of their own: 8 the next task.
; A roster's words: 0 how many helpers there are; the functions 1 to let other threads have the
; core, 2 to wait for a lock, 3 to release one; 4 and on: mailbox and lock of each helper.
; A mailbox: 0 FREE, 1 ASLEEP, a job, or a job + 1 that is being done.

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

; Works for a mailbox for ever: spins for so many rounds after a job, and waits for the lock then.
; Returns instead, if there is no lock.
define void @serve(ptr %mail, ptr %roster, ptr %lock, i64 %rounds) {
start:
  %acquire.at = getelementptr i64, ptr %roster, i64 2
  %acquire = load ptr, ptr %acquire.at
  %lone = icmp eq ptr %lock, null
  br i1 %lone, label %look, label %hold
hold:
  %held = call i32 %acquire(ptr %lock, i32 1)
  br label %look
look:
  %n = phi i64 [ 0, %start ], [ 0, %hold ], [ 0, %again ], [ %later, %none ]
  %job = load atomic i64, ptr %mail acquire, align 8
  %free = icmp eq i64 %job, 0
  br i1 %free, label %none, label %take
none:
  call void @pause()
  %later = add i64 %n, 1
  %patient = icmp slt i64 %later, %rounds
  br i1 %patient, label %look, label %doze
doze:
  br i1 %lone, label %end, label %sleep
sleep:
  %slept = cmpxchg ptr %mail, i64 0, i64 1 seq_cst seq_cst
  %asleep = extractvalue { i64, i1 } %slept, 1
  br i1 %asleep, label %wait, label %again
wait:
  %woken = call i32 %acquire(ptr %lock, i32 1)
  br label %again
take:
  %begun.job = or i64 %job, 1
  %begun = cmpxchg ptr %mail, i64 %job, i64 %begun.job seq_cst seq_cst
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

; Has a job done, by the caller and by helpers that have nothing to do, one for each task but one;
; returns when none of them is at it any more.
define void @run(ptr %job, ptr %roster) {
start:
  %number = ptrtoint ptr %job to i64
  %begun.number = or i64 %number, 1
  %next = getelementptr i64, ptr %job, i64 8
  store atomic i64 0, ptr %next release, align 8
  %tasks.at = getelementptr i64, ptr %job, i64 1
  %tasks = load i64, ptr %tasks.at
  %most = sub i64 %tasks, 1
  %yield.at = getelementptr i64, ptr %roster, i64 1
  %yield = load ptr, ptr %yield.at
  %release.at = getelementptr i64, ptr %roster, i64 3
  %release = load ptr, ptr %release.at
  %helpers = load atomic i64, ptr %roster acquire, align 8
  %posted = alloca ptr, i64 %most
  br label %post
post:
  %p = phi i64 [ 0, %start ], [ %p.next, %passed ]
  %count = phi i64 [ 0, %start ], [ %counted, %passed ]
  %more.there = icmp slt i64 %p, %helpers
  %more.wanted = icmp slt i64 %count, %most
  %more = and i1 %more.there, %more.wanted
  br i1 %more, label %ask, label %own
ask:
  %p.next = add i64 %p, 1
  %pair = mul i64 %p, 2
  %mail.place = add i64 %pair, 4
  %lock.place = add i64 %pair, 5
  %mail.at = getelementptr ptr, ptr %roster, i64 %mail.place
  %lock.at = getelementptr ptr, ptr %roster, i64 %lock.place
  %mail = load ptr, ptr %mail.at
  %asked = cmpxchg ptr %mail, i64 0, i64 %number seq_cst seq_cst
  %state = extractvalue { i64, i1 } %asked, 0
  %took = extractvalue { i64, i1 } %asked, 1
  br i1 %took, label %enter, label %refused
refused:
  %sleeps = icmp eq i64 %state, 1
  br i1 %sleeps, label %rouse, label %passed
rouse:
  %roused = cmpxchg ptr %mail, i64 1, i64 %number seq_cst seq_cst
  %mine = extractvalue { i64, i1 } %roused, 1
  br i1 %mine, label %wake, label %passed
wake:
  %lock = load ptr, ptr %lock.at
  call void %release(ptr %lock)
  br label %enter
enter:
  %entry = getelementptr ptr, ptr %posted, i64 %count
  store ptr %mail, ptr %entry
  %one.more = add i64 %count, 1
  br label %passed
passed:
  %counted = phi i64 [ %count, %refused ], [ %count, %rouse ], [ %one.more, %enter ]
  br label %post
own:
  call void @work(ptr %job)
  br label %leave
leave:
  %q = phi i64 [ 0, %own ], [ %q.next, %left ]
  %q.more = icmp slt i64 %q, %count
  br i1 %q.more, label %leaving, label %end
leaving:
  %q.at = getelementptr ptr, ptr %posted, i64 %q
  %q.mail = load ptr, ptr %q.at
  %q.done = cmpxchg ptr %q.mail, i64 %number, i64 0 seq_cst seq_cst
  br label %look
look:
  %n = phi i64 [ 0, %leaving ], [ %later, %spin ], [ %later, %lend ]
  %q.state = load atomic i64, ptr %q.mail acquire, align 8
  %busy = icmp eq i64 %q.state, %begun.number
  br i1 %busy, label %waiting, label %left
waiting:
  %later = add i64 %n, 1
  %patient = icmp slt i64 %later, 4096
  br i1 %patient, label %spin, label %lend
spin:
  call void @pause()
  br label %look
lend:
  %ignored = call i32 %yield()
  br label %look
left:
  %q.next = add i64 %q, 1
  br label %leave
end:
  ret void
}
