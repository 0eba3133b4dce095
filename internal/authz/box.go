// SPDX-License-Identifier: Apache-2.0

package authz

// box is a conjunction: one condition for each dimension.
type box [dims]cond

var everything = box{all, all, all, all, all}

// reduce makes fewer boxes that hold the same: those that differ in one dimension become
// one, and what lies in another goes. It takes the memory of boxes.
func (c *compiler) reduce(boxes []box) []box {
	for merged := true; merged && len(boxes) > 1; {
		merged = false
		for d := range dims {
			n := len(boxes)
			boxes = c.merge(boxes, d)
			merged = merged || len(boxes) < n
		}
	}
	if len(boxes) <= maxCompared {
		boxes = c.dropContained(boxes)
	}
	return boxes
}

// Comparing each with each would take long for more boxes.
const maxCompared = 512

func (c *compiler) merge(boxes []box, d int) []box {
	at := make(map[box]int, len(boxes))
	var order []box
	var conds [][]cond
	for _, b := range boxes {
		own := b[d]
		b[d] = none
		i, ok := at[b]
		if !ok {
			i = len(order)
			at[b] = i
			order = append(order, b)
			conds = append(conds, nil)
		}
		conds[i] = append(conds[i], own)
	}
	for i := range order {
		order[i][d] = conds[i][0]
		if len(conds[i]) > 1 {
			order[i][d] = c.lines[d].or(conds[i])
		}
	}
	return order
}

func (c *compiler) dropContained(boxes []box) []box {
	var out []box
	for i, b := range boxes {
		contained := false
		for j, o := range boxes {
			if i != j && c.contains(o, b) {
				contained = true
				break
			}
		}
		if !contained {
			out = append(out, b)
		}
	}
	return out
}

func (c *compiler) contains(o, b box) bool {
	for d := range dims {
		if o[d] != all && o[d] != b[d] && !c.lines[d].within(b[d], o[d]) {
			return false
		}
	}
	return true
}

// meet is what is in both; ok is false when that is nothing.
func (c *compiler) meet(a, b box) (m box, ok bool) {
	for d := range dims {
		m[d] = c.lines[d].and(a[d], b[d])
		if m[d] == none {
			return m, false
		}
	}
	return m, true
}
