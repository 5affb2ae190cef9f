// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools shows that what people use works in berth's container, with its seccomp
// profile and the other defaults. `make test-tools` builds the image for it.
package tools

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/test/labs"
)

// tools are commands, each with a pattern for the whole of what it prints.
var tools = []struct{ name, command, want string }{
	{"the profile is in force", "grep Seccomp: /proc/self/status", `Seccomp:\s+2`},
	{"vim", "vim -u NONE -c 'normal ione' -c 'normal otwo' -c wq v && cat v", `(?s).*one\s+two`},
	{"emacs", `emacs -nw -Q --eval '(progn (find-file "e") (insert "one") (save-buffer) (kill-emacs))' && cat e`, `(?s).*one`},
	{"emacs, a subprocess in a pty", `emacs -Q --batch --eval '(let ((p (start-process "s" "out" "sh" "-c" "echo in; tty"))) (while (process-live-p p) (accept-process-output p 1)) (with-current-buffer "out" (princ (buffer-string))))'`,
		`(?s)in\s+/dev/pts/\d+.*`},
	{"tmux", "tmux new-session -d -x 80 -y 20 'echo first; exec sh' && tmux split-window 'echo second; exec sh' && " +
		"until tmux capture-pane -p -t 0.0 | grep first && tmux capture-pane -p -t 0.1 | grep second; do sleep 0.1; done; tmux kill-server", `(?s).*first\s+second`},
	{"git", "git init -q g && cd g && git config user.email a@b && git config user.name a && echo x >f && git add f && git commit -qm one && " +
		"git gc -q && git clone -q . ../clone && git -C ../clone --no-pager log --format=%s", `one`},
	{"gcc", "gcc -O2 -g -Wall -o threads threads.c && ./threads", `sum 4`},
	{"gcc, sanitizers", "gcc -g -fsanitize=address -o leak threads.c && ./leak", `sum 4`},
	{"gdb", "gdb -q -batch -ex 'break add' -ex run -ex bt -ex 'info threads' -ex 'set var total = 40' -ex 'delete' -ex continue threads 2>&1",
		`(?s)(?:[^\n]*\n)*?[^\n]*hit Breakpoint 1, add (?:[^\n]*\n)*?#0\s+add (?:[^\n]*\n)*?sum 4\d\s.*exited normally\]`},
	{"gdb has no complaint", "gdb -q -batch -ex run threads 2>&1 | grep -iE 'warning|error|not permitted' || echo none", `none`},
	{"gdb, a running process", "sleep 3000 & gdb -q -batch -p $! -ex bt -ex detach 2>&1 | grep -cE '^#0|detached'; kill $!", `2`},
	{"gdb, a core dump", "gdb -q -batch -ex 'break add' -ex run -ex 'generate-core-file c' threads >/dev/null 2>&1; " +
		"gdb -q -batch -ex bt threads c 2>&1 | grep -o -m 1 '^#0  add'", `#0  add`},
	{"python3", `python3 -c '
import asyncio, ctypes, mmap, multiprocessing, socket, sqlite3, subprocess, tempfile, threading
async def main():
    server = await asyncio.start_server(lambda r, w: (w.write(b"served"), w.close()), "127.0.0.1", 0)
    reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
    return await reader.read()
with multiprocessing.get_context("spawn").Pool(2) as pool: print(pool.map(abs, [-1, -2]))
print(asyncio.run(main()), subprocess.check_output(["echo", "child"]), sqlite3.connect(tempfile.mktemp()).execute("select 7").fetchone())
'`, `\[1, 2\]\s+b'served' b'child\\n' \(7,\)`},
	{"python3, shared memory", `python3 -c '
from multiprocessing import shared_memory, Lock
s = shared_memory.SharedMemory(create=True, size=1 << 20); s.buf[0] = 7; print(s.buf[0], Lock().acquire()); s.close(); s.unlink()'`, `7 True`},
	{"node", `node -e '
const { Worker } = require("worker_threads"), http = require("http"), { execFileSync } = require("child_process"), fs = require("fs")
const server = http.createServer((q, s) => s.end("served")).listen(0, "127.0.0.1", () => http.get({ port: server.address().port, host: "127.0.0.1" }, (s) => s.on("data", (d) => {
	console.log(String(d), String(execFileSync("echo", ["child"])).trim(), String(fs.readdirSync("/").includes("home")))
	new Worker("require(\"worker_threads\").parentPort.postMessage(7)", { eval: true }).on("message", (m) => { console.log(String(m)); server.close() })
})))'`, `served child true\s+7`},
	{"go", "cd hello && go vet . && go build -o hello . && ./hello && go test .", `(?s)served 100\s+ok .*`},
	{"ssh-agent, ssh-keygen", "ssh-keygen -q -t ed25519 -N '' -f k && ssh-agent sh -c 'ssh-add -q k && ssh-add -l | wc -l'", `1`},
	{"rsync", "mkdir -p from && touch from/f && rsync -aX from/ to/ && ls to", `f`},
	{"less, top, ps, find, du, tar", "ps -o comm= -p $$ && top -bn1 | grep -c PID && tar cf - from | tar tf - && find from -type f && du -s from | wc -l", `(?s)bash\s+1\s+from/\s+from/f\s+from/f\s+1`},
	{"setarch", "setarch -R uname -s", `Linux`},
}

var files = map[string]string{
	"threads.c": `#include <pthread.h>
#include <stdio.h>
static int total;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *add(void *n)
{
	pthread_mutex_lock(&lock);
	total += *(int *)n;
	pthread_mutex_unlock(&lock);
	return NULL;
}
int main(void)
{
	pthread_t threads[4];
	int one = 1;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, add, &one);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	printf("sum %d\n", total);
	return 0;
}
`,
	"hello/go.mod": "module hello\n\ngo 1.19\n",
	"hello/main.go": `package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

func served() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }))
	var all sync.WaitGroup
	var lock sync.Mutex
	n := 0
	for i := 0; i < 100; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			r, err := http.Get("http://" + l.Addr().String())
			if err != nil {
				panic(err)
			}
			b, _ := io.ReadAll(r.Body)
			lock.Lock()
			n += len(b)
			lock.Unlock()
		}()
	}
	all.Wait()
	return n
}

func main() { fmt.Println("served", served()) }
`,
	"hello/main_test.go": `package main

import "testing"

func TestServed(t *testing.T) {
	if n := served(); n != 100 {
		t.Error(n)
	}
}
`,
}

func TestTools(t *testing.T) {
	l := labs.New(t, "[container]\nimage = \"berth:tools\"\n")
	home := l.Path("home/alice")
	for name, text := range files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "-R", l.UID(t, "alice"), home).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			// With a terminal, as people use them.
			r := labs.FinishIn(l.SSH("alice", "-tt", "export TERM=xterm; "+tool.command), 3*labs.Patience)
			out := strings.TrimSpace(strings.ReplaceAll(r.Out, "\r\n", "\n"))
			if !regexp.MustCompile(`^(?:`+tool.want+`)$`).MatchString(out) || r.Status != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}
