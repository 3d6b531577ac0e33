# packages: ruby
# again: --network=host
ruby -e 'puts (1..10).map { |x| x * x }.sum; puts `echo a`; puts Thread.new { 3 }.value'
ruby -e 'r, w = IO.pipe; fork { w.puts "c" }; Process.wait; puts r.gets, $?.success?'
ruby -rsocket -e 's = TCPServer.new("127.0.0.1", 0); t = Thread.new { c = s.accept; c.puts c.gets.upcase; c.close }; c = TCPSocket.new("127.0.0.1", s.addr[1]); c.puts "hi"; puts c.gets; t.join'
ruby -rtempfile -rfileutils -e 'Tempfile.create { |f| f.write "x" * 10; f.flush; puts File.size(f.path) }; FileUtils.mkdir_p "a/b"; puts Dir["**/*"].sort'
ruby -e 'trap("USR1") { puts "usr1" }; Process.kill("USR1", $$); sleep 0.05; q = Queue.new; 4.times { |i| Thread.new { q << i } }; puts 4.times.map { q.pop }.sort.inspect'
ruby -ropen3 -e 'o, s = Open3.capture2("tr a-z A-Z", stdin_data: "abc"); puts o, s.exitstatus'
