// Maps in the order in which Go walks through them, which it chooses at random; JSON, sorting, hashing.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"math/rand"
	"os"
	"sort"
	"strings"
	"time"
)

type record struct {
	Name   string            `json:"name"`
	Values []float64         `json:"values"`
	Tags   map[string]string `json:"tags,omitempty"`
}

func main() {
	words := map[string]int{}
	for i, word := range strings.Fields(strings.Repeat("the fuel of a guest is the currency of a cluster ", 40)) {
		words[word] += i
	}
	for word, sum := range words {
		fmt.Println("walked", word, sum)
	}
	records := make([]record, 200)
	for i := range records {
		records[i] = record{
			Name:   fmt.Sprintf("record-%d", rand.Intn(1000)),
			Values: []float64{math.Sqrt(float64(i)), rand.Float64(), math.Inf(-1) * 0},
			Tags:   map[string]string{"b": "2", "a": "1"},
		}
		records[i].Values[2] = math.Sin(float64(i))
	}
	sort.Slice(records, func(a, b int) bool { return records[a].Name < records[b].Name })
	text, err := json.Marshal(records)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var again []record
	if err := json.Unmarshal(text, &again); err != nil || len(again) != len(records) {
		os.Exit(2)
	}
	fmt.Printf("%d bytes of JSON, %x\n", len(text), sha256.Sum256(text))
	fmt.Println(time.Now().UTC().Format("2006-01-02 15:04"), math.NaN(), os.Args[1:], os.Getenv("GREETING"))
	entries, err := os.ReadDir("/in/d")
	fmt.Println(len(entries), err)
	if err := os.WriteFile("/out/records.json", text, 0o644); err != nil {
		os.Exit(3)
	}
}
