; A batch shared by threads, see team.py.
;
; The words of the table: 0 how many parts there are; 1 how many objects, 2 the field of the first
; one; 3, 4 of each part and object: the first of its rows, and the cell for its address; 5 the job,
; 6 the roster and 7 the function that has the job done; 8 how many results are summed, 9 of each:
; the number of its object, how many numbers it has, whether they are short, and where those of each
; part but the first are.

define internal void @add.double(ptr noalias %to, ptr noalias readonly %from, i64 %count) {
start:
  br label %head
head:
  %k = phi i64 [ 0, %start ], [ %next, %one ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %end
one:
  %next = add nuw nsw i64 %k, 1
  %to.at = getelementptr inbounds double, ptr %to, i64 %k
  %from.at = getelementptr inbounds double, ptr %from, i64 %k
  %a = load double, ptr %to.at
  %b = load double, ptr %from.at
  %sum = fadd double %a, %b
  store double %sum, ptr %to.at
  br label %head
end:
  ret void
}

define internal void @add.float(ptr noalias %to, ptr noalias readonly %from, i64 %count) {
start:
  br label %head
head:
  %k = phi i64 [ 0, %start ], [ %next, %one ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %end
one:
  %next = add nuw nsw i64 %k, 1
  %to.at = getelementptr inbounds float, ptr %to, i64 %k
  %from.at = getelementptr inbounds float, ptr %from, i64 %k
  %a = load float, ptr %to.at
  %b = load float, ptr %from.at
  %sum = fadd float %a, %b
  store float %sum, ptr %to.at
  br label %head
end:
  ret void
}

define internal i64 @word(ptr %table, i64 %k) alwaysinline {
  %at = getelementptr i64, ptr %table, i64 %k
  %v = load i64, ptr %at
  ret i64 %v
}

define internal ptr @pointer(ptr %table, i64 %k) alwaysinline {
  %at = getelementptr ptr, ptr %table, i64 %k
  %v = load ptr, ptr %at
  ret ptr %v
}

; Where the data of an array begin.
define internal ptr @data(ptr %array) alwaysinline {
  %at = getelementptr i8, ptr %array, i64 @data@
  %v = load ptr, ptr %at
  ret ptr %v
}

define void @run(ptr %record) nounwind {
start:
  %table = call ptr @pointer(ptr %record, i64 @table@)
  %parts = call i64 @word(ptr %table, i64 0)
  %objects = call i64 @word(ptr %table, i64 1)
  %first = call i64 @word(ptr %table, i64 2)
  %firsts = call ptr @pointer(ptr %table, i64 3)
  %cells = call ptr @pointer(ptr %table, i64 4)
  %fields = getelementptr ptr, ptr %record, i64 %first
  br label %object
object:
  %k = phi i64 [ 0, %start ], [ %k.next, %object.done ]
  %k.more = icmp slt i64 %k, %objects
  br i1 %k.more, label %enter, label %share
enter:
  %array = call ptr @pointer(ptr %fields, i64 %k)
  %data = call ptr @data(ptr %array)
  br label %part
part:
  %p = phi i64 [ 0, %enter ], [ %p.next, %filled ]
  %p.more = icmp slt i64 %p, %parts
  br i1 %p.more, label %fill, label %object.done
fill:
  %row = mul i64 %p, %objects
  %cell = add i64 %row, %k
  %begin = call i64 @word(ptr %firsts, i64 %cell)
  %whole = icmp eq i64 %begin, 0
  br i1 %whole, label %filled, label %later
later:
  ; Only arrays that have an axis for the batch begin later.
  %strides.at = getelementptr i8, ptr %array, i64 @strides@
  %strides = load ptr, ptr %strides.at
  %stride = call i64 @word(ptr %strides, i64 0)
  %bytes = mul i64 %begin, %stride
  br label %filled
filled:
  %skip = phi i64 [ 0, %fill ], [ %bytes, %later ]
  %from = getelementptr i8, ptr %data, i64 %skip
  %cell.at = getelementptr ptr, ptr %cells, i64 %cell
  store ptr %from, ptr %cell.at
  %p.next = add i64 %p, 1
  br label %part
object.done:
  %k.next = add i64 %k, 1
  br label %object
share:
  %job = call ptr @pointer(ptr %table, i64 5)
  %roster = call ptr @pointer(ptr %table, i64 6)
  %have.done = call ptr @pointer(ptr %table, i64 7)
  call void %have.done(ptr %job, ptr %roster)
  %count = call i64 @word(ptr %table, i64 8)
  %sums = call ptr @pointer(ptr %table, i64 9)
  %words = add i64 %parts, 2
  br label %sum
sum:
  %s = phi i64 [ 0, %share ], [ %s.next, %sum.done ]
  %s.more = icmp slt i64 %s, %count
  br i1 %s.more, label %summed, label %end
summed:
  %s.next = add i64 %s, 1
  %s.skip = mul i64 %s, %words
  %entry = getelementptr i64, ptr %sums, i64 %s.skip
  %which = call i64 @word(ptr %entry, i64 0)
  %size = call i64 @word(ptr %entry, i64 1)
  %short = call i64 @word(ptr %entry, i64 2)
  %result = call ptr @pointer(ptr %fields, i64 %which)
  %to = call ptr @data(ptr %result)
  %is.short = icmp ne i64 %short, 0
  br label %private
private:
  %n = phi i64 [ 1, %summed ], [ %n.next, %added ]
  %n.more = icmp slt i64 %n, %parts
  br i1 %n.more, label %add, label %sum.done
add:
  %place = add i64 %n, 2
  %own = call ptr @pointer(ptr %entry, i64 %place)
  %n.next = add i64 %n, 1
  br i1 %is.short, label %floats, label %doubles
floats:
  call void @add.float(ptr %to, ptr %own, i64 %size)
  br label %added
doubles:
  call void @add.double(ptr %to, ptr %own, i64 %size)
  br label %added
added:
  br label %private
sum.done:
  br label %sum
end:
  ret void
}
