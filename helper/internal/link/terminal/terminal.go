// SPDX-License-Identifier: Apache-2.0

// Package terminal reads and sets the state of ttys and opens new ones.
package terminal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// IsTTY reports whether fd is a terminal.
func IsTTY(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// Size is a window's size in characters and in pixels.
type Size = unix.Winsize

// GetSize returns the window size of the tty fd.
func GetSize(fd int) (Size, error) {
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return Size{}, fmt.Errorf("TIOCGWINSZ: %w", err)
	}
	return *size, nil
}

// SetSize sets it; the kernel tells the foreground process group (SIGWINCH)
// when it changed.
func SetSize(fd int, size Size) error {
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size); err != nil {
		return fmt.Errorf("TIOCSWINSZ: %w", err)
	}
	return nil
}

// Modes returns the modes of tty fd as bytes for another tty's SetModes. sshd
// has put the client's own modes there (RFC 4254, 8).
func Modes(fd int) ([]byte, error) {
	termios, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("TCGETS: %w", err)
	}
	return binary.Append(nil, binary.NativeEndian, termios)
}

// SetModes applies what Modes returned; none leaves the tty as it is.
func SetModes(fd int, modes []byte) error {
	if len(modes) == 0 {
		return nil
	}
	var termios unix.Termios
	if len(modes) != binary.Size(termios) {
		return errors.New("terminal modes of another system")
	}
	if _, err := binary.Decode(modes, binary.NativeEndian, &termios); err != nil {
		return fmt.Errorf("terminal modes: %w", err)
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &termios); err != nil {
		return fmt.Errorf("TCSETS: %w", err)
	}
	return nil
}

// Raw puts tty fd into raw mode (termios(3), cfmakeraw) and returns what puts
// it back; that may be called twice.
func Raw(fd int) (restore func(), err error) {
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("TCGETS: %w", err)
	}
	raw := *old
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag &^= unix.CSIZE | unix.PARENB
	raw.Cflag |= unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("TCSETS: %w", err)
	}
	var once sync.Once
	return func() { once.Do(func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }) }, nil
}

// OpenPTY opens a new pseudo terminal of this mount namespace's devpts
// (pts(4)) and returns its two ends and the name of the tty.
func OpenPTY() (master, tty *os.File, name string, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, "", fmt.Errorf("/dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	defer func() {
		if err != nil {
			master.Close()
		}
	}()
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, "", fmt.Errorf("TIOCGPTN: %w", err)
	}
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, "", fmt.Errorf("TIOCSPTLCK: %w", err)
	}
	name = fmt.Sprintf("/dev/pts/%d", number)
	slave, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w", name, err)
	}
	return master, os.NewFile(uintptr(slave), name), name, nil
}
