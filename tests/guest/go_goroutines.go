// 1,000 goroutines, channels, timers, garbage collection, preemption by signal, a nil dereference
// that the runtime turns into a panic.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const goroutines = 1000

func fail(format string, args ...interface{}) {
	fmt.Printf("failed: "+format+"\n", args...)
	os.Exit(1)
}

func sum() {
	results := make(chan int, 16)
	var group sync.WaitGroup
	for i := 0; i < goroutines; i++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			results <- n * n
		}(i)
	}
	go func() {
		group.Wait()
		close(results)
	}()
	total := 0
	for r := range results {
		total += r
	}
	fmt.Println("sum of squares", total)
}

func ring() {
	first := make(chan int)
	in := first
	for i := 0; i < goroutines; i++ {
		out := make(chan int)
		go func(in, out chan int) {
			for v := range in {
				out <- v + 1
			}
			close(out)
		}(in, out)
		in = out
	}
	for round := 0; round < 3; round++ {
		go func() { first <- round }()
		fmt.Println("around the ring", <-in)
	}
	close(first)
}

func timers() {
	begin := time.Now()
	var fired int32
	var group sync.WaitGroup
	for i := 0; i < 100; i++ {
		group.Add(1)
		time.AfterFunc(time.Duration(i%20)*time.Millisecond, func() {
			atomic.AddInt32(&fired, 1)
			group.Done()
		})
	}
	group.Wait()
	if elapsed := time.Since(begin); elapsed < 19*time.Millisecond {
		fail("100 timers took only %v", elapsed)
	}
	select {
	case <-time.After(20 * time.Millisecond):
		fmt.Println("timers", fired)
	case <-make(chan int):
	}
}

func garbage() {
	var kept [][]byte
	for i := 0; i < 2000; i++ {
		block := make([]byte, 16<<10)
		block[i%len(block)] = byte(i)
		if i%100 == 0 {
			kept = append(kept, block)
		}
	}
	runtime.GC()
	for i, block := range kept {
		n := i * 100
		if block[n%len(block)] != byte(n) {
			fail("block %d was overwritten", i)
		}
	}
	fmt.Println("garbage collected, kept", len(kept))
}

// A loop without calls stops for others only because the runtime sends its thread SIGURG.
func preemption() {
	runtime.GOMAXPROCS(1)
	var stop, spins int64
	go func() {
		for atomic.LoadInt64(&stop) == 0 {
			spins++
		}
	}()
	time.Sleep(30 * time.Millisecond)
	atomic.StoreInt64(&stop, 1)
	runtime.GOMAXPROCS(4)
	fmt.Println("preempted")
}

func nilDereference() {
	defer func() {
		fmt.Println("recovered:", recover())
	}()
	var p *struct{ x [10]int }
	fmt.Println(p.x[3])
}

func main() {
	sum()
	ring()
	timers()
	garbage()
	preemption()
	nilDereference()
}
