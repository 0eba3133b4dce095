// SPDX-License-Identifier: Apache-2.0

package authz

// matrix is rows of bits, one bit for each class.
type matrix struct {
	rows, words int
	bits        []uint64
}

func newMatrix(rows, columns int) *matrix {
	words := (columns + 63) / 64
	return &matrix{rows, words, make([]uint64, rows*words)}
}

func (m *matrix) clear() { clear(m.bits) }

// set sets the bits from..to of a row, to not included.
func (m *matrix) set(row, from, to int) {
	if from >= to {
		return
	}
	bits := m.bits[row*m.words : (row+1)*m.words]
	a, b := from/64, (to-1)/64
	first, last := ^uint64(0)<<(from%64), ^uint64(0)>>(63-(to-1)%64)
	if a == b {
		bits[a] |= first & last
		return
	}
	bits[a] |= first
	for i := a + 1; i < b; i++ {
		bits[i] = ^uint64(0)
	}
	bits[b] |= last
}

// columns turns the matrix: bit r of out[c] is bit c of row r.
func (m *matrix) columns(out []block) {
	clear(out)
	var t [64]uint64
	for j := range m.rows / 64 {
		for w := range m.words {
			used := uint64(0)
			for i := range t {
				t[i] = m.bits[(j*64+i)*m.words+w]
				used |= t[i]
			}
			if used == 0 {
				continue
			}
			transpose(&t)
			for i, v := range t[:min(64, len(out)-w*64)] {
				out[w*64+i][j] = v
			}
		}
	}
}

// transpose turns 64 words of 64 bits: bit i of word j becomes bit j of word i, by
// exchanging ever smaller squares.
func transpose(t *[64]uint64) {
	mask := uint64(0x00000000ffffffff)
	for n := 32; n > 0; n >>= 1 {
		for k := 0; k < 64; k = (k + n + 1) &^ n {
			x := (t[k]>>n ^ t[k+n]) & mask
			t[k] ^= x << n
			t[k+n] ^= x
		}
		mask ^= mask << (n / 2)
	}
}
