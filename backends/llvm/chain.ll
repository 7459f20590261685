; Functions that run one after the other as one. A table tells how many they are and, of each: its
; address, its record, how many fields of the whole record go there, and their places (from, to).
define void @run(ptr noalias %record) nounwind {
  %place = getelementptr i64, ptr %record, i64 @table@
  %table = load ptr, ptr %place
  %count = load i64, ptr %table
  %start = getelementptr i64, ptr %table, i64 1
  br label %part
part:
  %left = phi i64 [ %count, %0 ], [ %left.next, %call ]
  %at = phi ptr [ %start, %0 ], [ %pair, %call ]
  %is.end = icmp eq i64 %left, 0
  br i1 %is.end, label %end, label %begin
begin:
  %left.next = sub i64 %left, 1
  %function = load ptr, ptr %at
  %own.at = getelementptr i64, ptr %at, i64 1
  %own = load ptr, ptr %own.at
  %moves.at = getelementptr i64, ptr %at, i64 2
  %moves = load i64, ptr %moves.at
  %first = getelementptr i64, ptr %at, i64 3
  br label %head
head:
  %k = phi i64 [ 0, %begin ], [ %k.next, %move ]
  %pair = phi ptr [ %first, %begin ], [ %pair.next, %move ]
  %more = icmp slt i64 %k, %moves
  br i1 %more, label %move, label %call
move:
  %from = load i64, ptr %pair
  %to.at = getelementptr i64, ptr %pair, i64 1
  %to = load i64, ptr %to.at
  %source = getelementptr i64, ptr %record, i64 %from
  %target = getelementptr i64, ptr %own, i64 %to
  %v = load i64, ptr %source
  store i64 %v, ptr %target
  %pair.next = getelementptr i64, ptr %pair, i64 2
  %k.next = add i64 %k, 1
  br label %head
call:
  call void %function(ptr %own)
  br label %part
end:
  ret void
}
