package objects

// A Renderer is an Object of which some files show a text that the driver makes. A request that
// reads one finishes with Unrendered instead of Data. The driver makes the text without the
// object's lock, for it may take long and ask the system, and hands it to Rendered, which
// finishes the request a second time. Until then other reads of the handle wait.
type Renderer interface {
	Object

	// Rendered finishes r with the text, and those that waited for it.
	Rendered(now Time, r *Request, text []byte) Finished
}

// Render makes the texts of the requests in done, which o has finished, for drivers that keep
// o to themselves meanwhile. It returns what has finished instead, in wake order.
func Render(now Time, o Object, done Finished, text func(what any) []byte) Finished {
	var all Finished
	for r := done.Next(); r != nil; r = done.Next() {
		what := r.Unrendered
		if what == nil {
			all.Add(r)
			continue
		}
		r.Unrendered = nil
		all.Append(Render(now, o, o.(Renderer).Rendered(now, r, text(what)), text))
	}
	return all
}
