; One step of an optimiser on flat buffers. Names between at signs are words of a table: see update.py.
declare double @llvm.fabs.f64(double)
declare double @llvm.sqrt.f64(double)
declare double @llvm.minnum.f64(double, double)
declare double @llvm.maxnum.f64(double, double)
declare double @llvm.vector.reduce.fadd.v8f64(double, <8 x double>)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal i64 @word(ptr %table, i64 %k) alwaysinline {
  %at = getelementptr i64, ptr %table, i64 %k
  %v = load i64, ptr %at
  ret i64 %v
}

define internal double @number(ptr %table, i64 %k) alwaysinline {
  %at = getelementptr double, ptr %table, i64 %k
  %v = load double, ptr %at
  ret double %v
}

define internal ptr @pointer(ptr %table, i64 %k) alwaysinline {
  %at = getelementptr ptr, ptr %table, i64 %k
  %v = load ptr, ptr %at
  ret ptr %v
}

; ---
; Multiplies a gradient by a share and returns the sum of its squares, eight partial sums of which
; are added in order: the same bits for the same entries, whatever the machine. Squares are those of
; doubles, so that a float32 gradient has a norm where float32 would not hold its square.
define internal double @share_@type@(ptr %g, i64 %n, double %by) {
  %by.own = @narrow@ double %by to @type@
  %one = insertelement <8 x @type@> poison, @type@ %by.own, i64 0
  %all = shufflevector <8 x @type@> %one, <8 x @type@> poison, <8 x i32> zeroinitializer
  %eights = and i64 %n, -8
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %body ]
  %sums = phi <8 x double> [ zeroinitializer, %0 ], [ %sums.next, %body ]
  %more = icmp slt i64 %k, %eights
  br i1 %more, label %body, label %tail
body:
  %at = getelementptr @type@, ptr %g, i64 %k
  %v = load <8 x @type@>, ptr %at, align @size@
  %new = fmul <8 x @type@> %v, %all
  store <8 x @type@> %new, ptr %at, align @size@
  %wide = @widen8@
  %square = fmul <8 x double> %wide, %wide
  %sums.next = fadd <8 x double> %sums, %square
  %next = add i64 %k, 8
  br label %head
tail:
  %total = call double @llvm.vector.reduce.fadd.v8f64(double 0.0, <8 x double> %sums)
  br label %rest
rest:
  %r = phi i64 [ %eights, %tail ], [ %r.next, %single ]
  %sum = phi double [ %total, %tail ], [ %sum.next, %single ]
  %r.more = icmp slt i64 %r, %n
  br i1 %r.more, label %single, label %end
single:
  %s.at = getelementptr @type@, ptr %g, i64 %r
  %s = load @type@, ptr %s.at
  %s.new = fmul @type@ %s, %by.own
  store @type@ %s.new, ptr %s.at
  %s.wide = @widen1@
  %s.square = fmul double %s.wide, %s.wide
  %sum.next = fadd double %sum, %s.square
  %r.next = add i64 %r, 1
  br label %rest
end:
  ret double %sum
}

; Multiplies a gradient by a factor, then brings every entry into -most .. most.
define internal void @clip_@type@(ptr %g, i64 %n, double %factor, double %most) {
  %by = @narrow@ double %factor to @type@
  %high = @narrow@ double %most to @type@
  %low = fneg @type@ %high
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %body ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %body, label %end
body:
  %at = getelementptr @type@, ptr %g, i64 %k
  %v = load @type@, ptr %at
  %scaled = fmul @type@ %v, %by
  %above = fcmp ogt @type@ %scaled, %high
  %capped = select i1 %above, @type@ %high, @type@ %scaled
  %below = fcmp olt @type@ %capped, %low
  %held = select i1 %below, @type@ %low, @type@ %capped
  store @type@ %held, ptr %at
  %next = add i64 %k, 1
  br label %head
end:
  ret void
}

; ---
; Exchanges fields of the record in pairs: where a state was read and where its next value went.
define internal void @exchange(ptr %record, ptr %pairs, i64 %count) {
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %body ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %body, label %end
body:
  %first = mul i64 %k, 2
  %second = add i64 %first, 1
  %a = call i64 @word(ptr %pairs, i64 %first)
  %b = call i64 @word(ptr %pairs, i64 %second)
  %a.at = getelementptr i64, ptr %record, i64 %a
  %b.at = getelementptr i64, ptr %record, i64 %b
  %u = load i64, ptr %a.at
  %v = load i64, ptr %b.at
  store i64 %v, ptr %a.at
  store i64 %u, ptr %b.at
  %next = add i64 %k, 1
  br label %head
end:
  ret void
}

; Copies blocks of memory, in order: to, from, bytes.
define internal void @move(ptr %moves, i64 %count) {
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %body ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %body, label %end
body:
  %first = mul i64 %k, 3
  %second = add i64 %first, 1
  %third = add i64 %first, 2
  %to = call ptr @pointer(ptr %moves, i64 %first)
  %from = call ptr @pointer(ptr %moves, i64 %second)
  %bytes = call i64 @word(ptr %moves, i64 %third)
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  %next = add i64 %k, 1
  br label %head
end:
  ret void
}

; advance(table, share): 0 when the step is done; else nothing has changed but the gradient and its
; norm: 1 if that is not finite, 2 if there is no rate for this step.
define i64 @advance(ptr %table, double %share) {
  %at.rate = call i64 @word(ptr %table, i64 @word:position@)
  %rates = call i64 @word(ptr %table, i64 @word:rate_count@)
  %known = icmp slt i64 %at.rate, %rates
  br i1 %known, label %measure, label %unknown
unknown:
  ret i64 2
measure:
  %g = call ptr @pointer(ptr %table, i64 @word:gradient@)
  %n = call i64 @word(ptr %table, i64 @word:entries@)
  %short = call i64 @word(ptr %table, i64 @word:single@)
  %single = icmp ne i64 %short, 0
  br i1 %single, label %share.f, label %share.d
share.f:
  %sum.f = call double @share_float(ptr %g, i64 %n, double %share)
  br label %shared
share.d:
  %sum.d = call double @share_double(ptr %g, i64 %n, double %share)
  br label %shared
shared:
  %sum = phi double [ %sum.f, %share.f ], [ %sum.d, %share.d ]
  %norm = call double @llvm.sqrt.f64(double %sum)
  %norm.at = getelementptr double, ptr %table, i64 @word:norm@
  store double %norm, ptr %norm.at
  %infinite = fcmp ueq double %norm, 0x7FF0000000000000
  br i1 %infinite, label %bad, label %bounds
bad:
  ret i64 1
bounds:
  %norm.most = call double @number(ptr %table, i64 @word:clip_norm@)
  %value.most = call double @number(ptr %table, i64 @word:clip_value@)
  %raised = fadd double %norm, 0x3EB0C6F7A0B5ED8D
  %ratio = fdiv double %norm.most, %raised
  %factor = call double @llvm.minnum.f64(double %ratio, double 1.0)
  %is.long = fcmp olt double %factor, 1.0
  %is.bounded = fcmp olt double %value.most, 0x7FF0000000000000
  %clips = or i1 %is.long, %is.bounded
  br i1 %clips, label %clip, label %step
clip:
  br i1 %single, label %clip.f, label %clip.d
clip.f:
  call void @clip_float(ptr %g, i64 %n, double %factor, double %value.most)
  br label %step
clip.d:
  call void @clip_double(ptr %g, i64 %n, double %factor, double %value.most)
  br label %step
step:
  %list = call ptr @pointer(ptr %table, i64 @word:rates@)
  %stride = call i64 @word(ptr %table, i64 @word:stride@)
  %at.list = mul i64 %at.rate, %stride
  %rate = call double @number(ptr %list, i64 %at.list)
  %cell = call ptr @pointer(ptr %table, i64 @word:rate@)
  br i1 %single, label %rate.f, label %rate.d
rate.f:
  %rate.short = fptrunc double %rate to float
  store float %rate.short, ptr %cell
  br label %count
rate.d:
  store double %rate, ptr %cell
  br label %count
count:
  %steps = call i64 @word(ptr %table, i64 @word:steps@)
  %steps.next = add i64 %steps, 1
  %clock = call ptr @pointer(ptr %table, i64 @word:clock@)
  store i64 %steps, ptr %clock
  %run = call ptr @pointer(ptr %table, i64 @word:run@)
  %record = call ptr @pointer(ptr %table, i64 @word:record@)
  call void %run(ptr %record)
  %moves = call ptr @pointer(ptr %table, i64 @word:moves@)
  %move.count = call i64 @word(ptr %table, i64 @word:move_count@)
  call void @move(ptr %moves, i64 %move.count)
  %pairs = call ptr @pointer(ptr %table, i64 @word:pairs@)
  %pair.count = call i64 @word(ptr %table, i64 @word:pair_count@)
  call void @exchange(ptr %record, ptr %pairs, i64 %pair.count)
  %steps.at = getelementptr i64, ptr %table, i64 @word:steps@
  store i64 %steps.next, ptr %steps.at
  %position.at = getelementptr i64, ptr %table, i64 @word:position@
  %position.next = add i64 %at.rate, 1
  store i64 %position.next, ptr %position.at
  ret i64 0
}
