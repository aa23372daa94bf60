package uwsgi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is a program as users write it where a test has started it as one.
func TestMain(m *testing.M) {
	if os.Getenv("UWSGI_TEST_PROGRAM") == "" {
		os.Exit(m.Run())
	}
	http.HandleFunc("/descriptors", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, descriptors())
	})
	http.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-Stopping()
		fmt.Fprint(w, Worker())
	})
	Handle("/echo", echo)
	if err := Serve(nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A process is the program, started as the server does.
type process struct {
	*program
	command *exec.Cmd
	control net.Conn
}

func startProcess(t *testing.T) *process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	file, err := listener.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	control, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	control.SetDeadline(time.Now().Add(10 * time.Second))
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "UWSGI_TEST_PROGRAM=1", "UWSGI_WS_COMPANION=1", "UWSGI_WS_COMPANION_FD=3",
		"UWSGI_WS_COMPANION_CONTROL_FD=4", "UWSGI_WS_WORKER=2", "UWSGI_WS_CONCURRENCY=10")
	command.ExtraFiles = []*os.File{file, theirs}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill() })
	reader := newRecordReader(control)
	if kind, payload, _, err := reader.next(); err != nil || kind != kindVersion {
		t.Fatal(kind, payload, err)
	}
	return &process{&program{t: t, address: path}, command, control}
}

func TestAProgramServesAndEndsGracefully(t *testing.T) {
	for name, stop := range map[string]func(*process){
		"SIGTERM":         func(p *process) { p.command.Process.Signal(syscall.SIGTERM) },
		"the master dies": func(p *process) { p.control.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t)
			p.command.Process.Signal(syscall.SIGINT)
			p.command.Process.Signal(syscall.SIGHUP)
			waiting, open := p.request("PATH_INFO", "/wait"), p.open("PATH_INFO", "/echo")
			waiting.expectHead(kindHead)
			stop(p)
			waiting.expectText(kindBody, "2")
			waiting.expectEnd("")
			open.send(kindText, "still here")
			open.expectText(kindText, "still here")
			open.sendClose(1001, "")
			open.expectEnd("")
			if err := p.command.Wait(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestProgramsThatItStartsInheritNothing(t *testing.T) {
	w := startProcess(t).request("PATH_INFO", "/descriptors")
	w.expectHead(kindHead)
	w.expectText(kindBody, descriptors())
}

// descriptors returns what a program that this one starts has open, and what it hears of the server.
func descriptors() string {
	out, _ := exec.Command("sh", "-c", "ls /proc/self/fd; env | grep ^UWSGI_WS_[CW]").Output()
	return string(out)
}

func TestAProgramThatCannotServeSaysWhyInALine(t *testing.T) {
	for _, c := range []struct{ version, want string }{
		{"", "the server has to start this program: python -m uwsgi_ws --http :8080 --go-app " + os.Args[0]},
		{"2", "built for version 1 of the companion protocol, the server has version 2: build it with the module"},
		{"1", `UWSGI_WS_COMPANION_FD is ""`},
	} {
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), "UWSGI_TEST_PROGRAM=1", "UWSGI_WS_COMPANION="+c.version)
		out, err := command.CombinedOutput()
		text := string(out)
		if command.ProcessState.ExitCode() != 1 || !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 {
			t.Error(err, text)
		}
		if !strings.HasPrefix(text, "uwsgi_ws companion: "+os.Args[0]+": ") {
			t.Error(text)
		}
	}
}

func TestPublishingOutsideOfARequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "channels")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	got := make(chan string, 1)
	answers := make(chan string, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			data := make([]byte, 1000)
			n, _ := bufio.NewReader(conn).Read(data)
			got <- string(data[:n])
			io.WriteString(conn, <-answers)
			conn.Close()
		}
	}()
	t.Setenv("UWSGI_WS_CHANNEL_SOCKET", path)
	answers <- "ok\n"
	if err := Publish(context.Background(), "room", "hello"); err != nil {
		t.Error(err)
	}
	if record := <-got; record != "\x01\x04\x00\x05\x00\x00\x00roomhello" {
		t.Errorf("%q", record)
	}
	answers <- "error too long\n"
	if err := PublishBinary(context.Background(), "room", []byte{0}); err == nil || !strings.HasSuffix(err.Error(), ": too long") {
		t.Error(err)
	}
	if record := <-got; record != "\x02\x04\x00\x01\x00\x00\x00room\x00" {
		t.Errorf("%q", record)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := Publish(ctx, "room", "not answered"); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	answers <- ""
	t.Setenv("UWSGI_WS_CHANNEL_SOCKET", "")
	if err := Publish(context.Background(), "room", "x"); err == nil || !strings.Contains(err.Error(), "--channel-socket") {
		t.Error(err)
	}
}
