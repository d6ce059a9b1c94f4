package kernelsim

import (
	"testing"

	"ipcfs/kernelsim/explore"
	"ipcfs/kernelsim/generate"
	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/scenario"
)

// A search that returns to images sees what one sees that makes each run from its beginning.
// Memory that an image leaves out would be as a later state has left it.
func TestSearchFromImagesSeesWhatReplaysSee(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60 / slow) {
		text := generate.Scenario(seed, generate.Options{})
		s, err := scenario.Parse("x", text)
		if err != nil {
			t.Fatal(err)
		}
		search := func(images int) explore.Exploration {
			setup := func(k *kernel.Kernel) {
				k.Asynchronous = true
				s.Start(k, true)
			}
			return explore.Explore(setup, explore.Goals{Deadlock: true, Each: func(*kernel.Kernel, error, func() []int) {}}, explore.Bounds{States: 600, Images: images})
		}
		few, many := search(1), search(0)
		if few.States != many.States || few.Steps != many.Steps || few.Ends != many.Ends || few.Depth != many.Depth {
			t.Errorf("scenario %d: from images %d states, %d steps, %d ends; by replays %d, %d, %d\n%s", seed,
				many.States, many.Steps, many.Ends, few.States, few.Steps, few.Ends, text)
		}
	}
}

// A run that has gone on returns to an image as if it had never left it.
func TestRunReturnsToAnImage(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100 / slow) {
		text := generate.Scenario(seed, generate.Options{})
		s, err := scenario.Parse("x", text)
		if err != nil {
			t.Fatal(err)
		}
		k := &kernel.Kernel{Asynchronous: true}
		s.Start(k, true)
		camera := kernel.NewCamera(k)
		chooser := kernel.Seeded(seed)
		step := func() bool {
			options := k.Options()
			if len(options) == 0 {
				return false
			}
			i := 0
			if len(options) > 1 {
				i = chooser.Choose(len(options))
			}
			k.Take(options[i])
			camera.Stepped()
			return true
		}
		image := camera.Take(kernel.Image{})
		for round := range 30 {
			before := k.State()
			for range 1 + round%7 {
				step()
			}
			if round%3 == 0 {
				camera.Take(image) // of a state that is left again
				camera.Stepped()
			}
			camera.Return(image)
			if after := k.State(); after != before {
				t.Fatalf("scenario %d, round %d: the state is another\n%s", seed, round, text)
			}
			if !step() {
				break
			}
			image = camera.Take(image)
		}
	}
}
