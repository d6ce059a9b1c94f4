package tests

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// userOf is the identity of a user who needs no entry in passwd(5), with supplementary groups.
func userOf(id uint32, groups ...uint32) *syscall.Credential {
	return &syscall.Credential{Uid: id, Gid: id, Groups: groups}
}

// shownTo is what the user reads in the file.
func shownTo(t testing.TB, as *syscall.Credential, path string) string {
	t.Helper()
	return command{argv: []string{"cat", path}, as: as}.run(t).output()
}

func TestListingsShowEachReaderWhatItsModesAllow(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	alice, bob := userOf(2001, 3001), userOf(2002)
	colleague := userOf(2003, 3000, 3001)
	listings := []string{"objects", "waiters", "owners", "metrics"}

	// A semaphore each, that one process holds and another waits for; a lock of flock(2) and who waits for it.
	names := map[string]string{"secret": "700", "shared": "750", "public": "755", "flat-secret": "", "flat-public": ""}
	for name, mode := range names {
		path := m.path("semaphores", name)
		files := path
		if mode == "" {
			files += ".d"
			mode = map[bool]string{true: "600", false: "604"}[name == "flat-secret"]
			doesAs(t, alice, "umask 0", "ok", "open "+path+" rdwr|creat|excl "+mode, "ok")
		} else {
			doesAs(t, alice, "umask 0", "ok", "mkdir "+path+" "+mode, "ok")
			does(t, "chown "+path+" -1 3001", "ok")
		}
		command{argv: []string{"bash", "-c", "echo > " + files + "/post"}, as: alice}.run(t).prints("")
		held := []string{"open " + files + "/stat rdonly", "flock ex", "open " + files + "/hold rdonly", "pause"}
		cliAs(t, alice, held...).expect("ok", "ok", "ok")
		cliAs(t, alice, "open "+files+"/hold rdonly")
		cliAs(t, alice, held[:2]...)
		eventually(t, func() string {
			text, _ := os.ReadFile(m.path(".ipcfs", "waiters"))
			if strings.Count(string(text), "semaphores/"+name+" ") != 1 || strings.Count(string(text), files[len(m.dir)+1:]+"/stat ") != 1 {
				return "it has not one waiter for each of hold and lock: " + name + "\n" + string(text)
			}
			return ""
		})
	}
	all := []string{"flat-public", "flat-secret", "public", "secret", "shared"}
	for _, row := range []struct {
		who  string
		as   *syscall.Credential
		want []string
	}{
		{"the mount's owner", nil, all},
		{"the objects' owner", alice, all},
		{"a stranger", bob, []string{"flat-public", "public"}},
		{"a member of the group", colleague, []string{"flat-public", "public", "shared"}},
	} {
		for _, listing := range listings {
			text := shownTo(t, row.as, m.path(".ipcfs", listing))
			var got []string
			for _, name := range all {
				if strings.Contains(text, "semaphores/"+name+" ") || strings.Contains(text, "semaphores/"+name+`"`) ||
					strings.Contains(text, "semaphores/"+name+"/") {
					got = append(got, name)
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("%s shows %s %v, want %v:\n%s", listing, row.who, got, row.want, text)
			}
		}
		for _, args := range [][]string{{"ls", m.dir}, {"waiters", m.dir}} {
			c := command{argv: append([]string{ipcfsBin}, args...), as: row.as}.run(t)
			text := c.output()
			if strings.Contains(text, "secret ") != slices.Contains(row.want, "secret") {
				t.Errorf("ipcfs %s shows %s\n%s, want %v", args[0], row.who, text, row.want)
			}
		}
	}
}
