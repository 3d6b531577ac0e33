# packages: golang-go
# again: --network=host
export GOCACHE=$PWD/cache GOPATH=$PWD/path GO111MODULE=off GOFLAGS=-p=2
cat >main.go <<'P'
package main

import (
	"fmt"
	"net"
	"os/exec"
	"sync"
	"time"
)

func main() {
	var wg sync.WaitGroup
	sum, mu := 0, sync.Mutex{}
	for i := 0; i < 100; i++ {
		wg.Add(1)
		go func(i int) { defer wg.Done(); mu.Lock(); sum += i; mu.Unlock() }(i)
	}
	wg.Wait()
	out, err := exec.Command("echo", "from go").Output()
	fmt.Println(sum, string(out), err)
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	go func() { c, _ := l.Accept(); c.Write([]byte("hello")); c.Close() }()
	c, _ := net.Dial("tcp", l.Addr().String())
	b := make([]byte, 5)
	n, _ := c.Read(b)
	fmt.Println(n, string(b))
	select {
	case <-time.After(time.Millisecond):
		fmt.Println("timer")
	}
	defer func() { fmt.Println("recovered:", recover() != nil) }()
	var p *int
	*p = 1
}
P
go version | cut -d' ' -f1-2; go build -o prog main.go && ./prog; go vet main.go && gofmt -l main.go; go run main.go | head -n 1
