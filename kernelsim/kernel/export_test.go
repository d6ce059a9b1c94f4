package kernel

// SpecialFields are the fields that the hash of a state leaves out or counts from now.
func SpecialFields() (all [][2]string) {
	for _, table := range []map[field]bool{leftOut, past, lengths} {
		for f := range table {
			all = append(all, [2]string{f.of, f.name})
		}
	}
	return all
}
