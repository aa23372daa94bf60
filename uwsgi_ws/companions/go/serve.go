// Package uwsgi is for programs that run below the server uwsgi_ws, which keeps all that has to do with the network: TLS,
// HTTP/2, the opening handshake, frames, pings, limits and channels. The program sees requests and whole messages.
//
//	func main() {
//		uwsgi.Handle("/echo", func(c *uwsgi.Conn) {
//			for {
//				message, err := c.Recv(c.Context())
//				if err != nil || c.SendMessage(message) != nil {
//					return
//				}
//			}
//		})
//		log.Fatal(uwsgi.Serve(nil))
//	}
//
// The server starts it: python -m uwsgi_ws --http :8080 --go-app ./echo
package uwsgi

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Variables that the server sets.
const (
	versionVariable     = "UWSGI_WS_COMPANION"
	listenerVariable    = "UWSGI_WS_COMPANION_FD"
	controlVariable     = "UWSGI_WS_COMPANION_CONTROL_FD"
	concurrencyVariable = "UWSGI_WS_CONCURRENCY"
	workerVariable      = "UWSGI_WS_WORKER"
)

// Serve has a handler answer requests, http.DefaultServeMux where it is nil, each in a goroutine of its own. It returns
// nil when the server has asked the program to end and all requests are over.
func Serve(handler http.Handler) error {
	if handler == nil {
		handler = http.DefaultServeMux
	}
	if err := startedBy(); err != nil {
		return err
	}
	if !hasServed.CompareAndSwap(false, true) {
		return errors.New("uwsgi: Serve has been called already")
	}
	listener, err := inherited(listenerVariable, net.FileListener)
	if err != nil {
		return err
	}
	control, err := inherited(controlVariable, net.FileConn)
	if err != nil {
		return err
	}
	most, _ := strconv.Atoi(given[concurrencyVariable])
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		// Nothing comes: the end says that the server's master has gone.
		io.Copy(io.Discard, control)
		stop <- syscall.SIGTERM
	}()
	if _, err := control.Write(appendVersion(nil)); err != nil {
		return fmt.Errorf("uwsgi: the server has gone: %w", err)
	}
	go func() {
		<-stop
		close(stopping)
		listener.Close()
	}()
	return serve(listener, handler, most)
}

var (
	hasServed atomic.Bool
	stopping  = make(chan struct{})
	given     = make(map[string]string) // what the server says
)

func init() {
	for _, name := range []string{versionVariable, listenerVariable, controlVariable, concurrencyVariable, workerVariable} {
		given[name] = os.Getenv(name)
		// A program that this one starts is no companion.
		os.Unsetenv(name)
	}
	if given[versionVariable] == "" {
		return
	}
	for _, name := range []string{listenerVariable, controlVariable} {
		if fd, err := strconv.Atoi(given[name]); err == nil {
			syscall.CloseOnExec(fd)
		}
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP) // a terminal sends them to all processes of the server
}

// Stopping returns a channel that is closed when the server has asked the program to end: requests that run may end, no
// further ones come.
func Stopping() <-chan struct{} { return stopping }

// Worker returns the number of this process among those that run the program, 1 to N.
func Worker() int {
	worker, _ := strconv.Atoi(given[workerVariable])
	return worker
}

// startedBy looks at the protocol version of the server that has started the program.
func startedBy() error {
	switch version := given[versionVariable]; version {
	case "":
		return fmt.Errorf("uwsgi_ws companion: %s: the server has to start this program: "+
			"python -m uwsgi_ws --http :8080 --go-app %[1]s", os.Args[0])
	case strconv.Itoa(protocolVersion):
		return nil
	default:
		return versionError(version)
	}
}

func versionError(theirs string) error {
	return fmt.Errorf("uwsgi_ws companion: %s: it was built for version %d of the companion protocol, the server has version %s: "+
		"build it with the module of this server (python -m uwsgi_ws go-module DIR)", os.Args[0], protocolVersion, theirs)
}

// inherited returns what a descriptor is that the server has passed on.
func inherited[T any](variable string, open func(*os.File) (T, error)) (T, error) {
	var none T
	fd, err := strconv.Atoi(given[variable])
	if err != nil {
		return none, fmt.Errorf("uwsgi_ws companion: %s: %s is %q", os.Args[0], variable, given[variable])
	}
	file := os.NewFile(uintptr(fd), variable)
	defer file.Close() // what is opened has a copy, which programs that this one starts do not get
	opened, err := open(file)
	if err != nil {
		return none, fmt.Errorf("uwsgi_ws companion: %s: %s: %w", os.Args[0], variable, err)
	}
	return opened, nil
}

// serve accepts until the listener is closed, and returns once all requests are over.
func serve(listener net.Listener, handler http.Handler, most int) error {
	var running sync.WaitGroup
	defer running.Wait()
	var places chan struct{}
	if most > 0 {
		places = make(chan struct{}, most)
	}
	pause := time.Duration(0)
	for {
		if places != nil {
			places <- struct{}{} // until then connections stay in the queue, for other processes
		}
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // too many files are open, most likely
			pause = longerPause(pause)
			log.Printf("uwsgi: cannot accept a request, trying again in %v: %v", pause, err)
			time.Sleep(pause)
			if places != nil {
				<-places
			}
			continue
		}
		pause = 0
		running.Add(1)
		go func() {
			defer running.Done()
			if places != nil {
				defer func() { <-places }()
			}
			serveRequest(conn, handler)
		}()
	}
}

func longerPause(pause time.Duration) time.Duration {
	switch {
	case pause == 0:
		return 5 * time.Millisecond
	case pause > time.Second/2:
		return time.Second
	}
	return 2 * pause
}

func serveRequest(conn net.Conn, handler http.Handler) {
	s := newStream(conn)
	defer s.finish()
	vars, err := s.begin()
	if err != nil {
		if !isDisconnect(err) {
			log.Print(err)
		}
		return
	}
	s.context.vars = vars
	r := newRequest(s, vars)
	w := newResponseWriter(s, r)
	hasReturned := false
	defer func() {
		if !hasReturned {
			s.sendEnd(whyEnded(recover(), r))
		}
	}()
	handler.ServeHTTP(w, r)
	hasReturned = true
	w.finish()
}

// whyEnded logs the panic that ended a handler, and returns a line on it.
func whyEnded(cause any, r *http.Request) string {
	if cause == http.ErrAbortHandler || cause == nil { // nil: runtime.Goexit
		return "the handler has not ended by returning"
	}
	if err, ok := cause.(error); ok && errors.As(err, new(*CloseError)) {
		return "" // the client has gone: no fault of the handler
	}
	log.Printf("uwsgi: panic in %s %s: %v\n%s", r.Method, r.URL.Path, cause, debug.Stack())
	line := strings.ToValidUTF8(strings.ReplaceAll(fmt.Sprint("panic: ", cause), "\n", " "), "\uFFFD")
	if len(line) > 1000 {
		line = strings.ToValidUTF8(line[:1000], "")
	}
	return line
}
