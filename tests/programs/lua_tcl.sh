# packages: lua5.4 tcl
# again: --network=host
lua5.4 -e 'for i = 1, 3 do io.write(i, "\n") end; local f = io.popen("echo q"); print(f:read("a")); print(os.getenv("HOME") ~= nil, #os.tmpname() > 0)'
lua5.4 -e 'local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end); print(co(), co(), co()); collectgarbage()'
cat >t.tcl <<'T'
puts [expr 6*7]
puts [exec echo hi | tr a-z A-Z]
set f [open x w]; puts $f a; close $f; puts [file size x]
after 10 {set done 1}; vwait done
set s [socket -server {apply {{c a p} {puts $c hello; close $c}}} -myaddr 127.0.0.1 0]
set c [socket 127.0.0.1 [lindex [fconfigure $s -sockname] 2]]
fileevent $c readable {gets $c line; puts $line; set over 1}; vwait over
T
tclsh t.tcl
