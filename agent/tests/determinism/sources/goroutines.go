// Goroutines that speak over channels, wait for timers and race for a lock; then garbage is collected.
package main

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
)

func main() {
	var lock sync.Mutex
	var order []string
	var all sync.WaitGroup
	numbers := make(chan int)
	for worker := 0; worker < 8; worker++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for number := range numbers {
				sum := 0
				for i := 0; i < number*1000; i++ {
					sum += i % 7
				}
				lock.Lock()
				order = append(order, fmt.Sprintf("%d:%d=%d", worker, number, sum))
				lock.Unlock()
				runtime.Gosched()
			}
		}()
	}
	for number := 0; number < 40; number++ {
		numbers <- number
	}
	close(numbers)
	all.Wait()
	fmt.Println(strings.Join(order, " "))

	began := time.Now()
	first, second := time.After(2*time.Hour), time.After(time.Hour)
	for i := 0; i < 2; i++ {
		select {
		case <-first:
			fmt.Println("two hours")
		case <-second:
			fmt.Println("one hour")
		}
	}
	fmt.Println("slept", time.Since(began).Round(time.Minute))

	var kept [][]byte
	for i := 0; i < 3000; i++ {
		garbage := make([]byte, 10000)
		if i%100 == 0 {
			kept = append(kept, garbage)
		}
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println(len(kept), "kept,", stats.NumGC, "collections,", stats.Mallocs, "allocations")
	defer func() {
		fmt.Println("recovered:", recover())
		var nothing map[string]int
		nothing["x"] = 1
	}()
	var empty []int
	_ = empty[len(kept)]
}
