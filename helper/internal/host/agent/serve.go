// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxCallers is how many are served at once. Others wait in the socket's queue.
const maxCallers = 32

// bufferSize is for one direction of a connection. Most of the agent's messages are shorter.
const bufferSize = 4 << 10

// retryInterval is the pause after a caller could not be accepted for want of descriptors or
// memory.
const retryInterval = 100 * time.Millisecond

// Serve accepts callers on listener, a socket of the container's, for as long as the process
// lives, and relays between each and a connection that connect returns. Descriptor and callers may
// be hostile: nothing comes from them but bytes for the agent.
func Serve(listener int, connect func() (*os.File, error)) error {
	if err := checkSocket(listener); err != nil {
		unix.Close(listener)
		return err
	}
	file := os.NewFile(uintptr(listener), "agent")
	raw, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	go func() {
		defer file.Close()
		free := make(chan struct{}, maxCallers)
		for {
			free <- struct{}{}
			caller, err := accept(raw)
			if err != nil {
				return
			}
			// Not in the relay: so at most one thread waits in connect(2).
			agent, err := connect()
			if err != nil {
				caller.Close()
				<-free
				continue
			}
			go func() {
				relay(caller, agent)
				<-free
			}()
		}
	}()
	return nil
}

// checkSocket fails for a descriptor that is not a listening unix socket, and makes it one that
// does not block.
func checkSocket(fd int) error {
	for option, want := range map[int]int{unix.SO_DOMAIN: unix.AF_UNIX, unix.SO_TYPE: unix.SOCK_STREAM, unix.SO_ACCEPTCONN: 1} {
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err != nil || got != want {
			return errors.New("agent: what came is not a listening unix socket")
		}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

// accept returns the next caller that runs as the user. An error means that the listener is of no more use.
func accept(listener syscall.RawConn) (*os.File, error) {
	for {
		var fd int
		var err error
		if rerr := listener.Read(func(l uintptr) bool {
			fd, _, err = unix.Accept4(int(l), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return !errors.Is(err, unix.EAGAIN)
		}); rerr != nil {
			return nil, fmt.Errorf("agent: %w", rerr)
		}
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
			time.Sleep(retryInterval)
		case err != nil:
			return nil, fmt.Errorf("agent: accept: %w", err)
		default:
			if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil || int(cred.Uid) != os.Getuid() {
				unix.Close(fd)
				continue
			}
			return os.NewFile(uintptr(fd), "agent"), nil
		}
	}
}

// relay copies between the two until both have said all. Descriptors that come along are dropped
// by the kernel: read(2) takes none (unix(7)).
func relay(caller, agent *os.File) {
	var both sync.WaitGroup
	both.Go(func() { copyHalf(agent, caller) })
	both.Go(func() { copyHalf(caller, agent) })
	both.Wait()
	caller.Close()
	agent.Close()
}

// copyHalf copies until from ends, and then tells to that no more comes. If to takes no more,
// it tells from.
func copyHalf(to, from *os.File) {
	// Without the methods of *os.File, which would not use the buffer.
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, bufferSize))
	shutdown(to, unix.SHUT_WR)
	if err != nil {
		shutdown(from, unix.SHUT_RD)
	}
}

func shutdown(f *os.File, how int) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), how) })
	}
}
