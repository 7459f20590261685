; Quick calls. Names between at signs are words of tables, and offsets: see quick_code.py.
declare double @llvm.fabs.f64(double)

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

define internal void @put(ptr %table, i64 %k, ptr %value) alwaysinline {
  %at = getelementptr ptr, ptr %table, i64 %k
  store ptr %value, ptr %at
  ret void
}

define internal ptr @field(ptr %object, i64 %offset) alwaysinline {
  %at = getelementptr i8, ptr %object, i64 %offset
  %v = load ptr, ptr %at
  ret ptr %v
}

; Gives up the references in a list; null ones are left out.
define internal void @drop(ptr %api, ptr %list, i64 %count) {
  %release = call ptr @pointer(ptr %api, i64 @api:Py_DecRef@)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %done ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %end
one:
  %object = call ptr @pointer(ptr %list, i64 %k)
  %missing = icmp eq ptr %object, null
  br i1 %missing, label %done, label %given
given:
  call void %release(ptr %object)
  br label %done
done:
  %next = add i64 %k, 1
  br label %head
end:
  ret void
}

; Whether the arguments are such as a form is for. Runs nothing of Python's.
define internal i1 @matches(ptr %desk, ptr %form, ptr %objects) {
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %ndarray = call ptr @pointer(ptr %api, i64 @api:ndarray@)
  %float = call ptr @pointer(ptr %api, i64 @api:float@)
  %float64 = call ptr @pointer(ptr %api, i64 @api:float64@)
  %int = call ptr @pointer(ptr %api, i64 @api:int@)
  %entries = call ptr @pointer(ptr %desk, i64 @desk:entries@)
  %count = call i64 @word(ptr %desk, i64 @desk:entry_count@)
  %first = call ptr @pointer(ptr %form, i64 @form:extents@)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %fits ]
  %extents = phi ptr [ %first, %0 ], [ %following, %fits ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %yes
one:
  %skip = mul i64 %k, @entry:words@
  %entry = getelementptr i64, ptr %entries, i64 %skip
  %object = call ptr @pointer(ptr %objects, i64 %k)
  %kind = call ptr @field(ptr %object, i64 @at:kind@)
  %rank = call i64 @word(ptr %extents, i64 0)
  %later = add i64 %rank, 1
  %following = getelementptr i64, ptr %extents, i64 %later
  %check = call i64 @word(ptr %entry, i64 @entry:check@)
  %is.length = icmp eq i64 %check, 3
  br i1 %is.length, label %length, label %valued
length:
  %is.int = icmp eq ptr %kind, %int
  br i1 %is.int, label %counted, label %no
counted:
  %long.of = call ptr @pointer(ptr %api, i64 @api:PyLong_AsLongLong@)
  %own.length = call i64 %long.of(ptr %object)
  %want.length = call i64 @word(ptr %extents, i64 1)
  %is.it = icmp eq i64 %own.length, %want.length
  br i1 %is.it, label %fits, label %unlike
unlike:
  ; A number too large is an error there.
  %forget = call ptr @pointer(ptr %api, i64 @api:PyErr_Clear@)
  call void %forget()
  br label %no
valued:
  %array = icmp eq ptr %kind, %ndarray
  br i1 %array, label %typed, label %other
other:
  %plain = icmp eq ptr %kind, %float
  %wide = icmp eq ptr %kind, %float64
  %real = or i1 %plain, %wide
  %welcome = call i64 @word(ptr %entry, i64 @entry:number@)
  %is.welcome = icmp ne i64 %welcome, 0
  %flat = icmp eq i64 %rank, 0
  %single = and i1 %real, %flat
  %number = and i1 %single, %is.welcome
  br i1 %number, label %fits, label %no
typed:
  %descr = call ptr @field(ptr %object, i64 @at:descr@)
  %wanted = call ptr @pointer(ptr %entry, i64 @entry:descr@)
  %same = icmp eq ptr %descr, %wanted
  br i1 %same, label %ranked, label %no
ranked:
  %rank.at = getelementptr i8, ptr %object, i64 @at:rank@
  %own.short = load i32, ptr %rank.at
  %own = zext i32 %own.short to i64
  %flags.at = getelementptr i8, ptr %object, i64 @at:flags@
  %flags = load i32, ptr %flags.at
  %set = and i32 %flags, 257
  %contiguous = icmp eq i32 %set, 257
  %equal = icmp eq i64 %own, %rank
  %both = and i1 %contiguous, %equal
  br i1 %both, label %shaped, label %no
shaped:
  %shape = call ptr @field(ptr %object, i64 @at:extents@)
  br label %axis
axis:
  %d = phi i64 [ 0, %shaped ], [ %d.next, %same.extent ]
  %d.more = icmp slt i64 %d, %rank
  br i1 %d.more, label %extent, label %fits
extent:
  %have = call i64 @word(ptr %shape, i64 %d)
  %d.next = add i64 %d, 1
  %want = call i64 @word(ptr %extents, i64 %d.next)
  %agree = icmp eq i64 %have, %want
  br i1 %agree, label %same.extent, label %no
same.extent:
  br label %axis
fits:
  %next = add i64 %k, 1
  br label %head
yes:
  ret i1 true
no:
  ret i1 false
}

; How many numbers an array of some shape holds.
define internal i64 @volume(ptr %extents) {
  %rank = call i64 @word(ptr %extents, i64 0)
  br label %head
head:
  %d = phi i64 [ 0, %0 ], [ %next, %one ]
  %total = phi i64 [ 1, %0 ], [ %product, %one ]
  %more = icmp slt i64 %d, %rank
  br i1 %more, label %one, label %end
one:
  %next = add i64 %d, 1
  %n = call i64 @word(ptr %extents, i64 %next)
  %product = mul i64 %total, %n
  br label %head
end:
  ret i64 %total
}

; Whether integers lie in 0 .. bound - 1.
define internal i1 @in_range(ptr %data, i64 %count, i64 %bound) {
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %one ]
  %bad = phi i1 [ false, %0 ], [ %worse, %one ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %end
one:
  %v = call i64 @word(ptr %data, i64 %k)
  %out = icmp uge i64 %v, %bound
  %worse = or i1 %bad, %out
  %next = add i64 %k, 1
  br label %head
end:
  %good = xor i1 %bad, true
  ret i1 %good
}

; Whether real numbers are finite.
define internal i1 @are_finite(ptr %data, i64 %count, i1 %single) {
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %joined ]
  %bad = phi i1 [ false, %0 ], [ %worse, %joined ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %end
one:
  br i1 %single, label %short, label %long
short:
  %f.at = getelementptr float, ptr %data, i64 %k
  %f = load float, ptr %f.at
  %f.wide = fpext float %f to double
  br label %joined
long:
  %d.at = getelementptr double, ptr %data, i64 %k
  %d = load double, ptr %d.at
  br label %joined
joined:
  %v = phi double [ %f.wide, %short ], [ %d, %long ]
  %size = call double @llvm.fabs.f64(double %v)
  %out = fcmp ueq double %size, 0x7FF0000000000000
  %worse = or i1 %bad, %out
  %next = add i64 %k, 1
  br label %head
end:
  %good = xor i1 %bad, true
  ret i1 %good
}

; Whether the values of arguments that match a form are allowed.
define internal i1 @allowed(ptr %desk, ptr %form, ptr %objects) {
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %ndarray = call ptr @pointer(ptr %api, i64 @api:ndarray@)
  %entries = call ptr @pointer(ptr %desk, i64 @desk:entries@)
  %count = call i64 @word(ptr %desk, i64 @desk:entry_count@)
  %first = call ptr @pointer(ptr %form, i64 @form:extents@)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %good ]
  %extents = phi ptr [ %first, %0 ], [ %following, %good ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %yes
one:
  %skip = mul i64 %k, @entry:words@
  %entry = getelementptr i64, ptr %entries, i64 %skip
  %object = call ptr @pointer(ptr %objects, i64 %k)
  %rank = call i64 @word(ptr %extents, i64 0)
  %later = add i64 %rank, 1
  %following = getelementptr i64, ptr %extents, i64 %later
  %check = call i64 @word(ptr %entry, i64 @entry:check@)
  %kind = call ptr @field(ptr %object, i64 @at:kind@)
  %array = icmp eq ptr %kind, %ndarray
  %some = icmp ne i64 %check, 0
  %needed = and i1 %some, %array
  br i1 %needed, label %read, label %unread
unread:
  ; A number of Python's that has to be finite is left to Python.
  %finite.number = icmp eq i64 %check, 2
  br i1 %finite.number, label %no, label %good
read:
  %data = call ptr @field(ptr %object, i64 @at:head@)
  %n = call i64 @volume(ptr %extents)
  %bound = call i64 @word(ptr %entry, i64 @entry:bound@)
  %is.range = icmp eq i64 %check, 1
  br i1 %is.range, label %integers, label %reals
integers:
  %inside = call i1 @in_range(ptr %data, i64 %n, i64 %bound)
  br i1 %inside, label %good, label %no
reals:
  %single = icmp eq i64 %bound, 4
  %finite = call i1 @are_finite(ptr %data, i64 %n, i1 %single)
  br i1 %finite, label %good, label %no
good:
  %next = add i64 %k, 1
  br label %head
yes:
  ret i1 true
no:
  ret i1 false
}

; Takes what is given for results to be written to; whether it is for nothing else. `made` is empty.
define internal i1 @taken(ptr %desk, ptr %out, ptr %made) {
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %get = call ptr @pointer(ptr %api, i64 @api:PyDict_GetItemWithError@)
  %hold = call ptr @pointer(ptr %api, i64 @api:Py_IncRef@)
  %size = call ptr @pointer(ptr %api, i64 @api:PyDict_Size@)
  %results = call ptr @pointer(ptr %desk, i64 @desk:results@)
  %count = call i64 @word(ptr %desk, i64 @desk:result_count@)
  %none = icmp eq ptr %out, null
  br i1 %none, label %yes, label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %done ]
  %there = phi i64 [ 0, %0 ], [ %so.far, %done ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %end
one:
  %skip = mul i64 %k, @result:words@
  %result = getelementptr i64, ptr %results, i64 %skip
  %use = call i64 @word(ptr %result, i64 @result:use@)
  %is.shown = icmp eq i64 %use, 0
  br i1 %is.shown, label %seek, label %done
seek:
  %key = call ptr @pointer(ptr %result, i64 @result:key@)
  %array = call ptr %get(ptr %out, ptr %key)
  %missing = icmp eq ptr %array, null
  br i1 %missing, label %lacking, label %found
lacking:
  %forget = call ptr @pointer(ptr %api, i64 @api:PyErr_Clear@)
  call void %forget()
  br label %done
found:
  call void %hold(ptr %array)
  call void @put(ptr %made, i64 %k, ptr %array)
  %another = add i64 %there, 1
  br label %done
done:
  %so.far = phi i64 [ %there, %one ], [ %there, %lacking ], [ %another, %found ]
  %next = add i64 %k, 1
  br label %head
end:
  %given = call i64 %size(ptr %out)
  %all = icmp eq i64 %given, %there
  ret i1 %all
yes:
  ret i1 true
}

; The first byte behind the data of an array of some shape.
define internal ptr @behind(ptr %array, ptr %extents, i64 %size) {
  %data = call ptr @field(ptr %array, i64 @at:head@)
  %n = call i64 @volume(ptr %extents)
  %bytes = mul i64 %n, %size
  %end = getelementptr i8, ptr %data, i64 %bytes
  ret ptr %end
}

; Whether an array lies apart from some data.
define internal i1 @apart(ptr %array, ptr %end, ptr %other, ptr %other.end) {
  %data = call ptr @field(ptr %array, i64 @at:head@)
  %below = icmp ule ptr %end, %other
  %above = icmp ule ptr %other.end, %data
  %apart = or i1 %below, %above
  ret i1 %apart
}

; Whether the arrays of results are such as may be written to: of their shapes, contiguous, aligned,
; writeable, apart from the arguments and from each other. Runs nothing of Python's.
define internal i1 @writable(ptr %desk, ptr %form, ptr %objects, ptr %made) {
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %ndarray = call ptr @pointer(ptr %api, i64 @api:ndarray@)
  %results = call ptr @pointer(ptr %desk, i64 @desk:results@)
  %count = call i64 @word(ptr %desk, i64 @desk:result_count@)
  %entries = call ptr @pointer(ptr %desk, i64 @desk:entries@)
  %entry.count = call i64 @word(ptr %desk, i64 @desk:entry_count@)
  %first = call ptr @pointer(ptr %form, i64 @form:shapes@)
  %first.extents = call ptr @pointer(ptr %form, i64 @form:extents@)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %good ]
  %shape = phi ptr [ %first, %0 ], [ %following, %good ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %yes
one:
  %next = add i64 %k, 1
  %skip = mul i64 %k, @result:words@
  %result = getelementptr i64, ptr %results, i64 %skip
  %rank = call i64 @word(ptr %shape, i64 0)
  %later = add i64 %rank, 1
  %following = getelementptr i64, ptr %shape, i64 %later
  %array = call ptr @pointer(ptr %made, i64 %k)
  %missing = icmp eq ptr %array, null
  br i1 %missing, label %good, label %present
present:
  %kind = call ptr @field(ptr %array, i64 @at:kind@)
  %is.array = icmp eq ptr %kind, %ndarray
  br i1 %is.array, label %typed, label %no
typed:
  %descr = call ptr @field(ptr %array, i64 @at:descr@)
  %wanted = call ptr @pointer(ptr %result, i64 @result:descr@)
  %same = icmp eq ptr %descr, %wanted
  %rank.at = getelementptr i8, ptr %array, i64 @at:rank@
  %own.short = load i32, ptr %rank.at
  %own = zext i32 %own.short to i64
  %equal = icmp eq i64 %own, %rank
  %flags.at = getelementptr i8, ptr %array, i64 @at:flags@
  %flags = load i32, ptr %flags.at
  %set = and i32 %flags, 1281
  %ready = icmp eq i32 %set, 1281
  %both = and i1 %same, %equal
  %fine = and i1 %both, %ready
  br i1 %fine, label %ranked, label %no
ranked:
  %own.shape = call ptr @field(ptr %array, i64 @at:extents@)
  br label %axis
axis:
  %d = phi i64 [ 0, %ranked ], [ %d.next, %extent ]
  %d.more = icmp slt i64 %d, %rank
  br i1 %d.more, label %extent, label %shaped
extent:
  %have = call i64 @word(ptr %own.shape, i64 %d)
  %d.next = add i64 %d, 1
  %want = call i64 @word(ptr %shape, i64 %d.next)
  %agree = icmp eq i64 %have, %want
  br i1 %agree, label %axis, label %no
shaped:
  %size = call i64 @word(ptr %result, i64 @result:size@)
  %end = call ptr @behind(ptr %array, ptr %shape, i64 %size)
  br label %read.head
read.head:
  %r = phi i64 [ 0, %shaped ], [ %r.next, %read.done ]
  %extents = phi ptr [ %first.extents, %shaped ], [ %extents.next, %read.done ]
  %r.more = icmp slt i64 %r, %entry.count
  br i1 %r.more, label %read, label %other.head
read:
  %r.next = add i64 %r, 1
  %r.skip = mul i64 %r, @entry:words@
  %entry = getelementptr i64, ptr %entries, i64 %r.skip
  %r.rank = call i64 @word(ptr %extents, i64 0)
  %r.later = add i64 %r.rank, 1
  %extents.next = getelementptr i64, ptr %extents, i64 %r.later
  %object = call ptr @pointer(ptr %objects, i64 %r)
  %object.kind = call ptr @field(ptr %object, i64 @at:kind@)
  %is.read = icmp eq ptr %object.kind, %ndarray
  br i1 %is.read, label %read.array, label %read.done
read.array:
  %r.data = call ptr @field(ptr %object, i64 @at:head@)
  %r.size = call i64 @word(ptr %entry, i64 @entry:size@)
  %r.end = call ptr @behind(ptr %object, ptr %extents, i64 %r.size)
  %r.apart = call i1 @apart(ptr %array, ptr %end, ptr %r.data, ptr %r.end)
  br i1 %r.apart, label %read.done, label %no
read.done:
  br label %read.head
other.head:
  %o = phi i64 [ 0, %read.head ], [ %o.next, %other.done ]
  %other.shape = phi ptr [ %first, %read.head ], [ %other.following, %other.done ]
  %o.more = icmp slt i64 %o, %k
  br i1 %o.more, label %other, label %good
other:
  %o.next = add i64 %o, 1
  %o.skip = mul i64 %o, @result:words@
  %o.result = getelementptr i64, ptr %results, i64 %o.skip
  %o.rank = call i64 @word(ptr %other.shape, i64 0)
  %o.later = add i64 %o.rank, 1
  %other.following = getelementptr i64, ptr %other.shape, i64 %o.later
  %other.array = call ptr @pointer(ptr %made, i64 %o)
  %o.missing = icmp eq ptr %other.array, null
  br i1 %o.missing, label %other.done, label %other.there
other.there:
  %o.data = call ptr @field(ptr %other.array, i64 @at:head@)
  %o.size = call i64 @word(ptr %o.result, i64 @result:size@)
  %o.end = call ptr @behind(ptr %other.array, ptr %other.shape, i64 %o.size)
  %o.apart = call i1 @apart(ptr %array, ptr %end, ptr %o.data, ptr %o.end)
  br i1 %o.apart, label %other.done, label %no
other.done:
  br label %other.head
good:
  br label %head
yes:
  ret i1 true
no:
  ret i1 false
}

; Whether an array that is kept is nobody else's any more, and still as it was made.
define internal i1 @spare(ptr %array, ptr %none, ptr %descr, ptr %shape) {
  %missing = icmp eq ptr %array, %none
  br i1 %missing, label %no, label %made
made:
  ; The lower half: the upper one has other meanings in some versions of Python.
  %references.at = getelementptr i8, ptr %array, i64 @at:references@
  %references = load i32, ptr %references.at
  %alone = icmp eq i32 %references, 1
  br i1 %alone, label %free, label %no
free:
  %own.descr = call ptr @field(ptr %array, i64 @at:descr@)
  %same = icmp eq ptr %own.descr, %descr
  %rank = call i64 @word(ptr %shape, i64 0)
  %rank.at = getelementptr i8, ptr %array, i64 @at:rank@
  %own.short = load i32, ptr %rank.at
  %own = zext i32 %own.short to i64
  %equal = icmp eq i64 %own, %rank
  %flags.at = getelementptr i8, ptr %array, i64 @at:flags@
  %flags = load i32, ptr %flags.at
  %set = and i32 %flags, 1281
  %ready = icmp eq i32 %set, 1281
  %both = and i1 %same, %equal
  %fine = and i1 %both, %ready
  br i1 %fine, label %ranked, label %no
ranked:
  %own.shape = call ptr @field(ptr %array, i64 @at:extents@)
  br label %axis
axis:
  %d = phi i64 [ 0, %ranked ], [ %d.next, %extent ]
  %d.more = icmp slt i64 %d, %rank
  br i1 %d.more, label %extent, label %yes
extent:
  %have = call i64 @word(ptr %own.shape, i64 %d)
  %d.next = add i64 %d, 1
  %want = call i64 @word(ptr %shape, i64 %d.next)
  %agree = icmp eq i64 %have, %want
  br i1 %agree, label %axis, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

; Arrays for the results: those that were given, those of the call before if its caller has dropped
; them, and new ones; whether all could be made.
define internal i1 @allocate(ptr %desk, ptr %form, ptr %made) {
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %ndarray = call ptr @pointer(ptr %api, i64 @api:ndarray@)
  %hold = call ptr @pointer(ptr %api, i64 @api:Py_IncRef@)
  %release = call ptr @pointer(ptr %api, i64 @api:Py_DecRef@)
  %new = call ptr @pointer(ptr %api, i64 @api:PyArray_NewFromDescr@)
  %none = call ptr @pointer(ptr %api, i64 @api:none@)
  %spares = call ptr @pointer(ptr %form, i64 @form:spares@)
  %keeps = call ptr @pointer(ptr %form, i64 @form:keeps@)
  %results = call ptr @pointer(ptr %desk, i64 @desk:results@)
  %count = call i64 @word(ptr %desk, i64 @desk:result_count@)
  %record = call ptr @pointer(ptr %form, i64 @form:record@)
  %first = call ptr @pointer(ptr %form, i64 @form:shapes@)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %done ]
  %shape = phi ptr [ %first, %0 ], [ %following, %done ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %yes
one:
  %skip = mul i64 %k, @result:words@
  %result = getelementptr i64, ptr %results, i64 %skip
  %rank = call i64 @word(ptr %shape, i64 0)
  %later = add i64 %rank, 1
  %following = getelementptr i64, ptr %shape, i64 %later
  %use = call i64 @word(ptr %result, i64 @result:use@)
  %is.0 = icmp eq i64 %use, 0
  %is.2 = icmp eq i64 %use, 2
  %is.array = or i1 %is.0, %is.2
  br i1 %is.array, label %needed, label %done
needed:
  %given = call ptr @pointer(ptr %made, i64 %k)
  %is.new = icmp eq ptr %given, null
  br i1 %is.new, label %make, label %enter
make:
  %descr = call ptr @pointer(ptr %result, i64 @result:descr@)
  %kept = call ptr @pointer(ptr %spares, i64 %k)
  %again = call i1 @spare(ptr %kept, ptr %none, ptr %descr, ptr %shape)
  br i1 %again, label %reuse, label %create
reuse:
  call void %hold(ptr %kept)
  call void @put(ptr %made, i64 %k, ptr %kept)
  br label %enter
create:
  call void %hold(ptr %descr)
  %rank.short = trunc i64 %rank to i32
  %extents = getelementptr i64, ptr %shape, i64 1
  %array = call ptr %new(ptr %ndarray, ptr %descr, i32 %rank.short, ptr %extents, ptr null,
                         ptr null, i32 0, ptr null)
  call void @put(ptr %made, i64 %k, ptr %array)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %no, label %created
created:
  %small = call i64 @word(ptr %keeps, i64 %k)
  %is.kept = icmp ne i64 %small, 0
  br i1 %is.kept, label %keep, label %enter
keep:
  call void %hold(ptr %array)
  call void @put(ptr %spares, i64 %k, ptr %array)
  call void %release(ptr %kept)
  br label %enter
enter:
  %entered = phi ptr [ %given, %needed ], [ %kept, %reuse ], [ %array, %created ], [ %array, %keep ]
  %field = call i64 @word(ptr %result, i64 @result:field@)
  call void @put(ptr %record, i64 %field, ptr %entered)
  br label %done
done:
  %next = add i64 %k, 1
  br label %head
yes:
  ret i1 true
no:
  ret i1 false
}

; Enters the arguments into the record; a number of Python's is copied to a cell.
define internal void @enter(ptr %desk, ptr %form, ptr %objects) {
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %ndarray = call ptr @pointer(ptr %api, i64 @api:ndarray@)
  %value.of = call ptr @pointer(ptr %api, i64 @api:PyFloat_AsDouble@)
  %entries = call ptr @pointer(ptr %desk, i64 @desk:entries@)
  %count = call i64 @word(ptr %desk, i64 @desk:entry_count@)
  %record = call ptr @pointer(ptr %form, i64 @form:record@)
  %cells = call ptr @pointer(ptr %form, i64 @form:cells@)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %done ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %end
one:
  %skip = mul i64 %k, @entry:words@
  %entry = getelementptr i64, ptr %entries, i64 %skip
  %object = call ptr @pointer(ptr %objects, i64 %k)
  %field = call i64 @word(ptr %entry, i64 @entry:field@)
  %unused = icmp slt i64 %field, 0
  br i1 %unused, label %done, label %used
used:
  %kind = call ptr @field(ptr %object, i64 @at:kind@)
  %array = icmp eq ptr %kind, %ndarray
  br i1 %array, label %by.address, label %by.value
by.address:
  call void @put(ptr %record, i64 %field, ptr %object)
  br label %done
by.value:
  ; Two words: the address of the value, where an array has that of its data; the value.
  %pair = mul i64 %k, 2
  %cell = getelementptr i64, ptr %cells, i64 %pair
  %place = getelementptr i64, ptr %cell, i64 1
  %value = call double %value.of(ptr %object)
  store double %value, ptr %place
  store ptr %place, ptr %cell
  %like.array = getelementptr i8, ptr %cell, i64 -@at:head@
  call void @put(ptr %record, i64 %field, ptr %like.array)
  br label %done
done:
  %next = add i64 %k, 1
  br label %head
end:
  ret void
}

; Forgets what was noted before (with a number), or finds out whether anything was noted.
define internal i1 @noted(ptr %form, i1 %clear) {
  %words = call ptr @pointer(ptr %form, i64 @form:noted@)
  %count = call i64 @word(ptr %form, i64 @form:noted_count@)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %done ]
  %found = phi i1 [ false, %0 ], [ %so.far, %done ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %end
one:
  %skip = mul i64 %k, 3
  %at = getelementptr i64, ptr %words, i64 %skip
  %key = load i64, ptr %at
  %some = icmp ne i64 %key, 9223372036854775807
  %so.far = or i1 %found, %some
  br i1 %clear, label %forget, label %done
forget:
  store i64 9223372036854775807, ptr %at
  br label %done
done:
  %next = add i64 %k, 1
  br label %head
end:
  ret i1 %found
}

; The losses added, then those of a batch by halves, into the form's value.
define internal void @reduce(ptr %desk, ptr %form, i1 %single) {
  %count = call i64 @word(ptr %desk, i64 @desk:loss_count@)
  %rows = call i64 @word(ptr %form, i64 @form:rows@)
  %data = call ptr @pointer(ptr %form, i64 @form:loss_data@)
  %sums = call ptr @pointer(ptr %form, i64 @form:sums@)
  %value = call ptr @pointer(ptr %form, i64 @form:value@)
  %how = call i64 @word(ptr %form, i64 @form:reduce@)
  br label %row.head
row.head:
  %r = phi i64 [ 0, %0 ], [ %r.next, %row.end ]
  %r.more = icmp slt i64 %r, %rows
  br i1 %r.more, label %row, label %halve.start
row:
  br label %loss.head
loss.head:
  %l = phi i64 [ 0, %row ], [ %l.next, %added ]
  %total = phi double [ 0.0, %row ], [ %together, %added ]
  %l.more = icmp slt i64 %l, %count
  br i1 %l.more, label %loss, label %row.end
loss:
  %from = call ptr @pointer(ptr %data, i64 %l)
  %l.next = add i64 %l, 1
  %is.first = icmp eq i64 %l, 0
  br i1 %single, label %short, label %long
short:
  %f.at = getelementptr float, ptr %from, i64 %r
  %f = load float, ptr %f.at
  %f.total = fptrunc double %total to float
  %f.sum = fadd float %f.total, %f
  %f.new = select i1 %is.first, float %f, float %f.sum
  %f.wide = fpext float %f.new to double
  br label %added
long:
  %d.at = getelementptr double, ptr %from, i64 %r
  %d = load double, ptr %d.at
  %d.sum = fadd double %total, %d
  %d.new = select i1 %is.first, double %d, double %d.sum
  br label %added
added:
  %together = phi double [ %f.wide, %short ], [ %d.new, %long ]
  br label %loss.head
row.end:
  %sum.at = getelementptr double, ptr %sums, i64 %r
  store double %total, ptr %sum.at
  %r.next = add i64 %r, 1
  br label %row.head
halve.start:
  br label %halve
halve:
  %n = phi i64 [ %rows, %halve.start ], [ %half, %pairs.end ]
  %several = icmp sgt i64 %n, 1
  br i1 %several, label %pairs, label %halved
pairs:
  %n.1 = add i64 %n, 1
  %half = lshr i64 %n.1, 1
  %upper = sub i64 %n, %half
  br label %pair.head
pair.head:
  %p = phi i64 [ 0, %pairs ], [ %p.next, %pair ]
  %p.more = icmp slt i64 %p, %upper
  br i1 %p.more, label %pair, label %pairs.end
pair:
  %low.at = getelementptr double, ptr %sums, i64 %p
  %high = add i64 %p, %half
  %high.at = getelementptr double, ptr %sums, i64 %high
  %low.v = load double, ptr %low.at
  %high.v = load double, ptr %high.at
  %pair.sum = fadd double %low.v, %high.v
  store double %pair.sum, ptr %low.at
  %p.next = add i64 %p, 1
  br label %pair.head
pairs.end:
  br label %halve
halved:
  %whole = load double, ptr %sums
  %divisor = sitofp i64 %rows to double
  %quotient = fdiv double %whole, %divisor
  %is.mean = icmp eq i64 %how, 1
  %answer = select i1 %is.mean, double %quotient, double %whole
  br i1 %single, label %store.short, label %store.long
store.short:
  %answer.short = fptrunc double %answer to float
  store float %answer.short, ptr %value
  ret void
store.long:
  store double %answer, ptr %value
  ret void
}

; Multiplies numbers by a factor.
define internal void @multiply(ptr %data, i64 %count, double %factor, i1 %single) {
  %short.factor = fptrunc double %factor to float
  br i1 %single, label %f.head, label %d.head
f.head:
  %f.k = phi i64 [ 0, %0 ], [ %f.next, %f.one ]
  %f.more = icmp slt i64 %f.k, %count
  br i1 %f.more, label %f.one, label %end
f.one:
  %f.at = getelementptr float, ptr %data, i64 %f.k
  %f = load float, ptr %f.at
  %f.new = fmul float %f, %short.factor
  store float %f.new, ptr %f.at
  %f.next = add i64 %f.k, 1
  br label %f.head
d.head:
  %d.k = phi i64 [ 0, %0 ], [ %d.next, %d.one ]
  %d.more = icmp slt i64 %d.k, %count
  br i1 %d.more, label %d.one, label %end
d.one:
  %d.at = getelementptr double, ptr %data, i64 %d.k
  %d = load double, ptr %d.at
  %d.new = fmul double %d, %factor
  store double %d.new, ptr %d.at
  %d.next = add i64 %d.k, 1
  br label %d.head
end:
  ret void
}

; Multiplies the gradients by the share that each sequence has in the mean.
define internal void @scale(ptr %desk, ptr %form, ptr %made) {
  %results = call ptr @pointer(ptr %desk, i64 @desk:results@)
  %count = call i64 @word(ptr %desk, i64 @desk:result_count@)
  %factor.bits = call i64 @word(ptr %form, i64 @form:scale@)
  %factor = bitcast i64 %factor.bits to double
  %first = call ptr @pointer(ptr %form, i64 @form:shapes@)
  br label %head
head:
  %k = phi i64 [ 0, %0 ], [ %next, %done ]
  %shape = phi ptr [ %first, %0 ], [ %following, %done ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %end
one:
  %skip = mul i64 %k, @result:words@
  %result = getelementptr i64, ptr %results, i64 %skip
  %rank = call i64 @word(ptr %shape, i64 0)
  %later = add i64 %rank, 1
  %following = getelementptr i64, ptr %shape, i64 %later
  %use = call i64 @word(ptr %result, i64 @result:use@)
  %is.array = icmp eq i64 %use, 0
  br i1 %is.array, label %change, label %done
change:
  %array = call ptr @pointer(ptr %made, i64 %k)
  %data = call ptr @field(ptr %array, i64 @at:head@)
  %n = call i64 @volume(ptr %shape)
  %short = call i64 @word(ptr %result, i64 @result:single@)
  %single = icmp ne i64 %short, 0
  call void @multiply(ptr %data, i64 %n, double %factor, i1 %single)
  br label %done
done:
  %next = add i64 %k, 1
  br label %head
end:
  ret void
}

; A dict of the results that are shown, those from one place in their order to another, as a copy of
; one with the same names, which has its room already; null if it cannot be made.
define internal ptr @named(ptr %desk, ptr %template, ptr %made, i64 %from, i64 %to) {
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %copy = call ptr @pointer(ptr %api, i64 @api:PyDict_Copy@)
  %set = call ptr @pointer(ptr %api, i64 @api:PyDict_SetItem@)
  %release = call ptr @pointer(ptr %api, i64 @api:Py_DecRef@)
  %scalar.of = call ptr @pointer(ptr %api, i64 @api:PyArray_Scalar@)
  %results = call ptr @pointer(ptr %desk, i64 @desk:results@)
  %order = call ptr @pointer(ptr %desk, i64 @desk:order@)
  %scalars = call i64 @word(ptr %desk, i64 @desk:scalars@)
  %plain = icmp ne i64 %scalars, 0
  %dict = call ptr %copy(ptr %template)
  %none = icmp eq ptr %dict, null
  br i1 %none, label %fail, label %head
head:
  %j = phi i64 [ %from, %0 ], [ %next, %done ]
  %more = icmp slt i64 %j, %to
  br i1 %more, label %one, label %end
one:
  %k = call i64 @word(ptr %order, i64 %j)
  %skip = mul i64 %k, @result:words@
  %result = getelementptr i64, ptr %results, i64 %skip
  %key = call ptr @pointer(ptr %result, i64 @result:key@)
  %value = call ptr @pointer(ptr %made, i64 %k)
  %rank.at = getelementptr i8, ptr %value, i64 @at:rank@
  %rank = load i32, ptr %rank.at
  %flat = icmp eq i32 %rank, 0
  %is.scalar = and i1 %plain, %flat
  br i1 %is.scalar, label %scalar, label %array
scalar:
  %descr = call ptr @pointer(ptr %result, i64 @result:descr@)
  %place = call ptr @field(ptr %value, i64 @at:head@)
  %made.scalar = call ptr %scalar.of(ptr %place, ptr %descr, ptr null)
  %no.scalar = icmp eq ptr %made.scalar, null
  br i1 %no.scalar, label %undo, label %enter.scalar
enter.scalar:
  %s.status = call i32 %set(ptr %dict, ptr %key, ptr %made.scalar)
  call void %release(ptr %made.scalar)
  br label %entered
array:
  %a.status = call i32 %set(ptr %dict, ptr %key, ptr %value)
  br label %entered
entered:
  %status = phi i32 [ %s.status, %enter.scalar ], [ %a.status, %array ]
  %bad = icmp ne i32 %status, 0
  br i1 %bad, label %undo, label %done
done:
  %next = add i64 %j, 1
  br label %head
undo:
  call void %release(ptr %dict)
  br label %fail
fail:
  ret ptr null
end:
  ret ptr %dict
}

; (first, second), which takes both over; null if it cannot be made.
define internal ptr @joined(ptr %api, ptr %first, ptr %second) {
  %release = call ptr @pointer(ptr %api, i64 @api:Py_DecRef@)
  %tuple.of = call ptr @pointer(ptr %api, i64 @api:PyTuple_New@)
  %set = call ptr @pointer(ptr %api, i64 @api:PyTuple_SetItem@)
  %tuple = call ptr %tuple.of(i64 2)
  %none = icmp eq ptr %tuple, null
  br i1 %none, label %undo, label %join
join:
  %one = call i32 %set(ptr %tuple, i64 0, ptr %first)
  %two = call i32 %set(ptr %tuple, i64 1, ptr %second)
  ret ptr %tuple
undo:
  call void %release(ptr %first)
  call void %release(ptr %second)
  ret ptr null
}

; (the loss, the dict of gradients), which takes the dict over; null if it cannot be made.
define internal ptr @pair(ptr %desk, ptr %form, ptr %made, ptr %dict) {
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %hold = call ptr @pointer(ptr %api, i64 @api:Py_IncRef@)
  %release = call ptr @pointer(ptr %api, i64 @api:Py_DecRef@)
  %scalar.of = call ptr @pointer(ptr %api, i64 @api:PyArray_Scalar@)
  %results = call ptr @pointer(ptr %desk, i64 @desk:results@)
  %losses = call ptr @pointer(ptr %desk, i64 @desk:losses@)
  %k = call i64 @word(ptr %losses, i64 0)
  %skip = mul i64 %k, @result:words@
  %result = getelementptr i64, ptr %results, i64 %skip
  %descr = call ptr @pointer(ptr %result, i64 @result:descr@)
  %how = call i64 @word(ptr %form, i64 @form:reduce@)
  %is.each = icmp eq i64 %how, 3
  br i1 %is.each, label %each, label %all
each:
  %array = call ptr @pointer(ptr %made, i64 %k)
  call void %hold(ptr %array)
  br label %valued
all:
  %short = call i64 @word(ptr %result, i64 @result:single@)
  %single = icmp ne i64 %short, 0
  call void @reduce(ptr %desk, ptr %form, i1 %single)
  %place = call ptr @pointer(ptr %form, i64 @form:value@)
  %scalar = call ptr %scalar.of(ptr %place, ptr %descr, ptr null)
  %no.scalar = icmp eq ptr %scalar, null
  br i1 %no.scalar, label %fail, label %valued
valued:
  %value = phi ptr [ %array, %each ], [ %scalar, %all ]
  %tuple = call ptr @joined(ptr %api, ptr %value, ptr %dict)
  ret ptr %tuple
fail:
  call void %release(ptr %dict)
  ret ptr null
}

; Says that a step of training begins or ends; there may be no training.
define internal void @mark(ptr %update, i64 %busy) {
  %none = icmp eq ptr %update, null
  br i1 %none, label %end, label %one
one:
  %at = getelementptr i64, ptr %update, i64 @update:busy@
  store i64 %busy, ptr %at
  br label %end
end:
  ret void
}

; The optimiser's step with the gradients that were computed, and the loss; null, with nothing
; changed, if that or the gradient is not finite, or something else is left to Python.
define internal ptr @train(ptr %desk, ptr %form) {
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %release = call ptr @pointer(ptr %api, i64 @api:Py_DecRef@)
  %scalar.of = call ptr @pointer(ptr %api, i64 @api:PyArray_Scalar@)
  %update = call ptr @pointer(ptr %desk, i64 @desk:update@)
  %results = call ptr @pointer(ptr %desk, i64 @desk:results@)
  %losses = call ptr @pointer(ptr %desk, i64 @desk:losses@)
  %k = call i64 @word(ptr %losses, i64 0)
  %skip = mul i64 %k, @result:words@
  %result = getelementptr i64, ptr %results, i64 %skip
  %descr = call ptr @pointer(ptr %result, i64 @result:descr@)
  %short = call i64 @word(ptr %result, i64 @result:single@)
  %single = icmp ne i64 %short, 0
  call void @reduce(ptr %desk, ptr %form, i1 %single)
  %place = call ptr @pointer(ptr %form, i64 @form:value@)
  %finite = call i1 @are_finite(ptr %place, i64 1, i1 %single)
  br i1 %finite, label %valued, label %fail
valued:
  ; Before the step: after it nothing may fail.
  %scalar = call ptr %scalar.of(ptr %place, ptr %descr, ptr null)
  %none = icmp eq ptr %scalar, null
  br i1 %none, label %fail, label %step
step:
  %factor.bits = call i64 @word(ptr %form, i64 @form:scale@)
  %factor = bitcast i64 %factor.bits to double
  %advance = call ptr @pointer(ptr %update, i64 @update:advance@)
  %is.long = call i64 @word(ptr %update, i64 @update:long@)
  %long = icmp ne i64 %is.long, 0
  br i1 %long, label %released, label %held
held:
  %status.held = call i64 %advance(ptr %update, double %factor)
  br label %stepped
released:
  %save = call ptr @pointer(ptr %api, i64 @api:PyEval_SaveThread@)
  %restore = call ptr @pointer(ptr %api, i64 @api:PyEval_RestoreThread@)
  %state = call ptr %save()
  %status.released = call i64 %advance(ptr %update, double %factor)
  call void %restore(ptr %state)
  br label %stepped
stepped:
  %status = phi i64 [ %status.held, %held ], [ %status.released, %released ]
  %done = icmp eq i64 %status, 0
  br i1 %done, label %end, label %undo
undo:
  call void %release(ptr %scalar)
  br label %fail
fail:
  ret ptr null
end:
  ret ptr %scalar
}

; What is returned, or null.
define internal ptr @outcome(ptr %desk, ptr %form, ptr %made) {
  %mode = call i64 @word(ptr %desk, i64 @desk:mode@)
  %gradient = icmp eq i64 %mode, 1
  %step = icmp eq i64 %mode, 2
  br i1 %step, label %training, label %computed
training:
  %loss = call ptr @train(ptr %desk, ptr %form)
  ret ptr %loss
computed:
  %is.scaled = call i64 @word(ptr %form, i64 @form:is_scaled@)
  %scaled = icmp ne i64 %is.scaled, 0
  br i1 %scaled, label %share, label %collect
share:
  call void @scale(ptr %desk, ptr %form, ptr %made)
  br label %collect
collect:
  %count = call i64 @word(ptr %desk, i64 @desk:order_count@)
  %split = call i64 @word(ptr %desk, i64 @desk:split@)
  %template = call ptr @pointer(ptr %desk, i64 @desk:template@)
  %dict = call ptr @named(ptr %desk, ptr %template, ptr %made, i64 0, i64 %split)
  %none = icmp eq ptr %dict, null
  %two = icmp eq i64 %mode, 3
  %more = or i1 %gradient, %two
  %plain = xor i1 %more, true
  %ready = or i1 %none, %plain
  br i1 %ready, label %return, label %add
return:
  ret ptr %dict
add:
  br i1 %two, label %second, label %loss.first
loss.first:
  %both = call ptr @pair(ptr %desk, ptr %form, ptr %made, ptr %dict)
  ret ptr %both
second:
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %other = call ptr @pointer(ptr %desk, i64 @desk:second@)
  %rest = call ptr @named(ptr %desk, ptr %other, ptr %made, i64 %split, i64 %count)
  %no.rest = icmp eq ptr %rest, null
  br i1 %no.rest, label %undo, label %join
undo:
  %release = call ptr @pointer(ptr %api, i64 @api:Py_DecRef@)
  call void %release(ptr %dict)
  ret ptr null
join:
  %dicts = call ptr @joined(ptr %api, ptr %dict, ptr %rest)
  ret ptr %dicts
}

define internal void @compute(ptr %api, ptr %form) {
  %run = call ptr @pointer(ptr %form, i64 @form:run@)
  %record = call ptr @pointer(ptr %form, i64 @form:record@)
  %long.word = call i64 @word(ptr %form, i64 @form:long@)
  %long = icmp ne i64 %long.word, 0
  br i1 %long, label %released, label %held
held:
  call void %run(ptr %record)
  ret void
released:
  %save = call ptr @pointer(ptr %api, i64 @api:PyEval_SaveThread@)
  %restore = call ptr @pointer(ptr %api, i64 @api:PyEval_RestoreThread@)
  %state = call ptr %save()
  call void %run(ptr %record)
  call void %restore(ptr %state)
  ret void
}

; quick(params, inputs, …): dicts, and perhaps one more of arrays to write to. None where Python has
; to see to the call.
define ptr @quick(ptr %self, ptr %arguments, i64 %given) {
  %desk = call ptr @field(ptr %self, i64 @at:head@)
  %api = call ptr @pointer(ptr %desk, i64 @desk:api@)
  %hold = call ptr @pointer(ptr %api, i64 @api:Py_IncRef@)
  %none = call ptr @pointer(ptr %api, i64 @api:none@)
  %forms = call ptr @pointer(ptr %desk, i64 @desk:forms@)
  %count = call i64 @word(ptr %desk, i64 @desk:entry_count@)
  %entries = call ptr @pointer(ptr %desk, i64 @desk:entries@)
  %result.count = call i64 @word(ptr %desk, i64 @desk:result_count@)
  %objects = alloca ptr, i64 %count
  %made = alloca ptr, i64 %result.count
  %dict = call ptr @pointer(ptr %api, i64 @api:dict@)
  %size = call ptr @pointer(ptr %api, i64 @api:PyDict_Size@)
  %groups = call i64 @word(ptr %desk, i64 @desk:group_count@)
  %sizes = call ptr @pointer(ptr %desk, i64 @desk:groups@)
  %with.out = add i64 %groups, 1
  %is.plain = icmp eq i64 %given, %groups
  %is.out = icmp eq i64 %given, %with.out
  %expected = or i1 %is.plain, %is.out
  br i1 %expected, label %dict.head, label %decline
dict.head:
  %g = phi i64 [ 0, %0 ], [ %g.next, %dict.sized ], [ %g.next, %dict.typed ]
  %g.more = icmp slt i64 %g, %given
  br i1 %g.more, label %dict.one, label %get.start
dict.one:
  %g.next = add i64 %g, 1
  %group = call ptr @pointer(ptr %arguments, i64 %g)
  %group.kind = call ptr @field(ptr %group, i64 @at:kind@)
  %is.dict = icmp eq ptr %group.kind, %dict
  br i1 %is.dict, label %dict.typed, label %decline
dict.typed:
  %is.given = icmp slt i64 %g, %groups
  br i1 %is.given, label %dict.sized, label %dict.head
dict.sized:
  %group.size = call i64 %size(ptr %group)
  %group.want = call i64 @word(ptr %sizes, i64 %g)
  %all = icmp eq i64 %group.size, %group.want
  br i1 %all, label %dict.head, label %decline

get.start:
  %last.at = sub i64 %given, 1
  %last = call ptr @pointer(ptr %arguments, i64 %last.at)
  %out = select i1 %is.out, ptr %last, ptr null
  %get = call ptr @pointer(ptr %api, i64 @api:PyDict_GetItemWithError@)
  br label %get.head
get.head:
  %k = phi i64 [ 0, %get.start ], [ %k.next, %found ]
  %k.more = icmp slt i64 %k, %count
  br i1 %k.more, label %get.one, label %seek
get.one:
  %skip = mul i64 %k, @entry:words@
  %entry = getelementptr i64, ptr %entries, i64 %skip
  %role = call i64 @word(ptr %entry, i64 @entry:role@)
  %from = call ptr @pointer(ptr %arguments, i64 %role)
  %key = call ptr @pointer(ptr %entry, i64 @entry:key@)
  %object = call ptr %get(ptr %from, ptr %key)
  %missing = icmp eq ptr %object, null
  br i1 %missing, label %lacking, label %found
found:
  call void %hold(ptr %object)
  call void @put(ptr %objects, i64 %k, ptr %object)
  %k.next = add i64 %k, 1
  br label %get.head
lacking:
  %forget = call ptr @pointer(ptr %api, i64 @api:PyErr_Clear@)
  call void %forget()
  br label %drop.objects

seek:
  %form.count = call i64 @word(ptr %desk, i64 @desk:form_count@)
  br label %seek.head
seek.head:
  %f = phi i64 [ 0, %seek ], [ %f.next, %seek.one ]
  %f.more = icmp slt i64 %f, %form.count
  br i1 %f.more, label %seek.one, label %drop.objects
seek.one:
  %form = call ptr @pointer(ptr %forms, i64 %f)
  %f.next = add i64 %f, 1
  %fits = call i1 @matches(ptr %desk, ptr %form, ptr %objects)
  br i1 %fits, label %take, label %seek.head
take:
  %is.busy = call i64 @word(ptr %form, i64 @form:busy@)
  %busy = icmp ne i64 %is.busy, 0
  br i1 %busy, label %drop.objects, label %alone
alone:
  ; A step of training is one of all sizes at a time: they share the weights.
  %update = call ptr @pointer(ptr %desk, i64 @desk:update@)
  %trains = icmp ne ptr %update, null
  br i1 %trains, label %alone.step, label %check
alone.step:
  %is.training = call i64 @word(ptr %update, i64 @update:busy@)
  %training = icmp ne i64 %is.training, 0
  %at.rate = call i64 @word(ptr %update, i64 @update:position@)
  %rates = call i64 @word(ptr %update, i64 @update:rate_count@)
  %spent = icmp sge i64 %at.rate, %rates
  %waits = or i1 %training, %spent
  br i1 %waits, label %drop.objects, label %check
check:
  %ok = call i1 @allowed(ptr %desk, ptr %form, ptr %objects)
  br i1 %ok, label %begin, label %drop.objects

begin:
  %busy.at = getelementptr i64, ptr %form, i64 @form:busy@
  store i64 1, ptr %busy.at
  call void @mark(ptr %update, i64 1)
  br label %clear.head
clear.head:
  %c = phi i64 [ 0, %begin ], [ %c.next, %clear ]
  %c.more = icmp slt i64 %c, %result.count
  br i1 %c.more, label %clear, label %allocating
clear:
  call void @put(ptr %made, i64 %c, ptr null)
  %c.next = add i64 %c, 1
  br label %clear.head
allocating:
  %taken = call i1 @taken(ptr %desk, ptr %out, ptr %made)
  br i1 %taken, label %making, label %give.up
making:
  %allocated = call i1 @allocate(ptr %desk, ptr %form, ptr %made)
  br i1 %allocated, label %again, label %give.up
again:
  ; Looking for names in a dict that was given may have run anything; making arrays runs nothing.
  br i1 %is.out, label %again.out, label %again.allowed
again.out:
  %still = call i1 @matches(ptr %desk, ptr %form, ptr %objects)
  br i1 %still, label %again.matched, label %give.up
again.matched:
  %writable = call i1 @writable(ptr %desk, ptr %form, ptr %objects, ptr %made)
  br i1 %writable, label %again.allowed, label %give.up
again.allowed:
  call void @enter(ptr %desk, ptr %form, ptr %objects)
  %cleared = call i1 @noted(ptr %form, i1 true)
  call void @compute(ptr %api, ptr %form)
  %failed = call i1 @noted(ptr %form, i1 false)
  br i1 %failed, label %give.up, label %finish
finish:
  %answer = call ptr @outcome(ptr %desk, ptr %form, ptr %made)
  br label %end
give.up:
  br label %end
end:
  %found.answer = phi ptr [ %answer, %finish ], [ null, %give.up ]
  store i64 0, ptr %busy.at
  call void @mark(ptr %update, i64 0)
  call void @drop(ptr %api, ptr %made, i64 %result.count)
  br label %drop.objects

drop.objects:
  %held = phi i64 [ %k, %lacking ], [ %count, %seek.head ], [ %count, %take ],
                  [ %count, %alone.step ], [ %count, %check ], [ %count, %end ]
  %answered = phi ptr [ null, %lacking ], [ null, %seek.head ], [ null, %take ],
                      [ null, %alone.step ], [ null, %check ], [ %found.answer, %end ]
  call void @drop(ptr %api, ptr %objects, i64 %held)
  %nothing = icmp eq ptr %answered, null
  br i1 %nothing, label %clear.error, label %return
return:
  ret ptr %answered
clear.error:
  %forget.late = call ptr @pointer(ptr %api, i64 @api:PyErr_Clear@)
  call void %forget.late()
  br label %decline
decline:
  call void %hold(ptr %none)
  ret ptr %none
}
