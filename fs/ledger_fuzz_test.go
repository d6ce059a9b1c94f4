package fs

import (
	"encoding/binary"
	"math"
	"math/big"
	"testing"

	"ipcfs/objects"
)

// sizes are what overflows, and what is beside it.
var sizes = [16]int64{
	0, 1, -1, 4096, 1 << 20, -(1 << 20), 16 << 20, 64 << 20,
	most - 1, most, most + 1, math.MaxInt64 - 4095, math.MaxInt64, math.MinInt64, math.MinInt64 + 1, math.MaxInt64 / bytesPerMessage,
}

// exactly are amounts in integers that do not overflow.
type exactly [4]*big.Int

func exact(a amounts) exactly {
	return exactly{big.NewInt(a.Objects), big.NewInt(a.Messages), big.NewInt(a.Bytes), big.NewInt(a.Kept)}
}

func (e exactly) plus(a amounts) exactly {
	sum := exact(a)
	for i := range e {
		sum[i].Add(sum[i], e[i])
	}
	return sum
}

func (e exactly) is(a amounts) bool {
	for i, n := range exact(a) {
		if e[i].Cmp(n) != 0 {
			return false
		}
	}
	return true
}

func (e exactly) cost() *big.Int {
	sum := new(big.Int).Add(e[2], e[3])
	sum.Add(sum, new(big.Int).Mul(e[1], big.NewInt(bytesPerMessage)))
	return sum.Add(sum, new(big.Int).Mul(e[0], big.NewInt(bytesPerObject)))
}

// FuzzLedger charges, gives back and moves what the input says. The sums stay exact, no
// charge goes beyond a limit, and in the end nothing is left.
func FuzzLedger(f *testing.F) {
	f.Add([]byte{0x01, 3, 0, 0, 12, 0, 0x01, 7, 0, 12, 12, 0}) // truncate -s 4096, truncate -s 2^63-1
	f.Add([]byte{0x11, 12, 12, 12, 12, 3, 0x00, 1, 1, 1, 1, 0, 0x20, 0, 4, 4, 0, 1})
	f.Add([]byte{0x00, 15, 15, 9, 9, 0, 0x31, 2, 2, 2, 2, 0, 0x10, 3, 3, 3, 3, 3})
	f.Fuzz(func(t *testing.T, input []byte) {
		l := newLedger(Config{MaxBytes: 64 << 20, MaxMessages: 1000, MaxObjects: 100})
		l.set("user_bytes 16M")
		if len(input) > 0 && input[0]&0x80 != 0 {
			l.max, l.maxEach = unlimited, unlimited
		}
		want := map[uint32]exactly{}
		var all exactly
		sum := func() {
			all = exact(amounts{})
			for _, e := range want {
				for i := range all {
					all[i].Add(all[i], e[i])
				}
			}
		}
		type entry struct {
			uid uint32
			n   amounts
		}
		var booked []entry
		book := func(uid uint32, n amounts) {
			if want[uid] == (exactly{}) {
				want[uid] = exact(amounts{})
			}
			want[uid] = want[uid].plus(n)
		}
		for len(input) >= 6 {
			op, uid := input[0]&0x70>>4, uint32(input[0]&3)
			n := amounts{sizes[input[1]&15], sizes[input[2]&15], sizes[input[3]&15], sizes[input[4]&15], 0}
			arg := int(input[5])
			input = input[6:]
			grows := n.Objects >= 0 && n.Messages >= 0 && n.Bytes >= 0 && n.Kept >= 0
			before := l.total()
			switch {
			case op == 0 && grows: // what fails changes nothing
				if l.charge(uid, n) != 0 {
					if l.total() != before {
						t.Fatalf("a refused charge of %+v changed %+v to %+v", n, before, l.total())
					}
					continue
				}
				book(uid, n)
				booked = append(booked, entry{uid, n})
				sum()
				if limit := l.limits(); n.Bytes > 0 && all[2].Cmp(big.NewInt(limit.Bytes)) > 0 || n.cost() > 0 && all.cost().Cmp(big.NewInt(room(limit.Bytes))) > 0 {
					t.Fatalf("a charge of %+v went beyond %+v", n, limit)
				}
			case op == 1: // what is there already; it is memory, so there is not much of it
				n = amounts{Messages: 1, Bytes: int64(binary.LittleEndian.Uint16([]byte{byte(n.Bytes), byte(arg)})), Kept: int64(arg)}
				l.adjust(uid, n)
				book(uid, n)
				booked = append(booked, entry{uid, n})
			case op == 2 && len(booked) > 0: // give back
				i := arg % len(booked)
				l.adjust(booked[i].uid, booked[i].n.minus())
				book(booked[i].uid, booked[i].n.minus())
				booked = append(booked[:i], booked[i+1:]...)
			case op == 3 && len(booked) > 0 && grows:
				i := arg % len(booked)
				from := booked[i]
				if l.Move(from.uid, objects.Cost{Messages: from.n.Messages, Bytes: from.n.Bytes, Kept: from.n.Kept}, uid,
					objects.Cost{Messages: n.Messages, Bytes: n.Bytes, Kept: n.Kept}) != 0 {
					if l.total() != before {
						t.Fatalf("a refused move changed %+v to %+v", before, l.total())
					}
					continue
				}
				n.Objects = 0
				book(from.uid, amounts{Objects: 0, Messages: -from.n.Messages, Bytes: -from.n.Bytes, Kept: -from.n.Kept})
				book(uid, n)
				booked[i] = entry{from.uid, amounts{Objects: from.n.Objects}}
				booked = append(booked, entry{uid, n})
			}
			sum()
			if !all.is(l.total()) {
				t.Fatalf("%+v is booked; want %v", l.total(), all)
			}
			for uid, e := range want {
				if !e.is(l.usedByUsers[uid]) {
					t.Fatalf("%+v is booked on %d; want %v", l.usedByUsers[uid], uid, e)
				}
			}
		}
		for _, e := range booked {
			l.adjust(e.uid, e.n.minus())
		}
		if l.total() != (amounts{}) || len(l.usedByUsers) != 0 {
			t.Fatalf("%+v is left, by %v; want nothing", l.total(), l.usedByUsers)
		}
	})
}
